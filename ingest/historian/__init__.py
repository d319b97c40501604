"""The historian: what the machines' tags were, to be asked for by device and time. One interface (`base`), two stores.

It is a consumer of the ledger and never the truth: after a crash its cursor goes back and it is written again, which changes
nothing (a row is known by enterprise, device, tag, kind and time). A tag whose kind changes becomes another series: rows
of both are read back, each in its own kind.
"""
