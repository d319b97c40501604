"""Bytes and CPU a value: our sealed frame against JSON per scan, plain and with zstd, over the same samples in one run.

The samples are the five simulated machines at one scan a second. Ours are sealed (signed, encrypted, chained); the peers
are not, which favours them. python bench/frame.py
"""

import json
import os
import time
from collections.abc import Callable

import orjson
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from simulators.catalogue import make_machine
from starproof.demo.layout import MACHINES
from telemetry import frame, keys, plain, samples, seal
from telemetry.dictionary import DeviceSpec, Dictionary, TagSpec
from telemetry.frame import Frame
from telemetry.samples import Kind, Samples
from telemetry.seal import Header, ItemKind

SECONDS = 60
WALL = 1_700_000_000_000
SIGNER = keys.signing_key(Ed25519PrivateKey.generate())
EPOCH_KEY = os.urandom(32)


def record() -> tuple[Dictionary, list[Samples]]:
    """The dictionary of the five machines, and one scan of all their tags for each second."""
    machines = [make_machine(kind, uid, 1) for uid, kind, _ in MACHINES]
    words = Dictionary(
        "E",
        "edge",
        tuple(
            DeviceSpec(m.uid, m.type.id, tags=tuple(TagSpec(t.id, resolution=t.resolution_text) for t in m.type.tags))
            for m in machines
        ),
    )
    scans: list[Samples] = []
    for second in range(SECONDS):
        rows: list[tuple[int, int, samples.Value, int, Kind]] = []
        for machine in machines:
            machine.step(1.0)
            for tag in machine.type.tags:
                value = round(machine.values[tag.id] / tag.resolution) * tag.resolution
                rows.append((words.number(machine.uid, tag.id), WALL + 1000 * second, value, 0, Kind.FLOAT))
        scans.append(samples.from_rows(rows))
    return words, scans


def ours(words: Dictionary, batch: Samples) -> bytes:
    """A sealed frame."""
    header = Header(ItemKind.DATA, bytes(16), 5, bytes(16), words.hash, bytes(8), span=(WALL, WALL))
    plaintext = frame.encode(Frame(WALL, 0, bytes(16), batch), words)
    return seal.seal(plaintext, header, epoch_key=EPOCH_KEY, signer=SIGNER, topic="t")


def as_json(words: Dictionary, batch: Samples) -> bytes:
    """JSON per scan: {device, time, values by name}."""
    scans: dict[tuple[str, int], dict[str, object]] = {}
    columns = zip(batch.tag.tolist(), batch.time.tolist(), plain.values(batch), strict=True)
    for number, at, value in columns:
        device, tag = words.tags[number]
        scans.setdefault((device.uid, at), {})[tag.id] = value
    return orjson.dumps([{"device": uid, "time": at, "values": values} for (uid, at), values in scans.items()])


def json_zstd(words: Dictionary, batch: Samples) -> bytes:
    """The same, compressed."""
    return zstandard.compress(as_json(words, batch), 3)


def measure(make: Callable[[Dictionary, Samples], bytes], words: Dictionary, batch: Samples) -> tuple[float, float]:
    """(bytes a value, CPU seconds per 100,000 values), over about half a second of work."""
    size, rounds, begun = len(make(words, batch)), 0, time.process_time()
    while time.process_time() - begun < 0.5:
        make(words, batch)
        rounds += 1
    return size / len(batch), (time.process_time() - begun) / rounds / len(batch) * 1e5


def main() -> None:
    """Measure, print a table and one JSON line."""
    words, scans = record()
    table = Table(title=f"{len(words.tags)} tags of five simulated machines (SIMULATED)", title_justify="left")
    for heading in ("batch", "way", "bytes a value", "CPU s per 100k values"):
        table.add_column(heading, justify="right" if heading not in ("batch", "way") else "left")
    found: dict[tuple[int, str], tuple[float, float]] = {}
    for seconds in (1, 10, 60):
        batch = samples.concat(scans[:seconds])
        for way in (ours, json_zstd, as_json):
            found[seconds, way.__name__] = size, cpu = measure(way, words, batch)
            table.add_row(f"{seconds} s", way.__name__, f"{size:.2f}", f"{cpu:.3f}")
    Console(width=100).print(table)
    mine, peer = found[10, "ours"][0], found[10, "json_zstd"][0]
    print(json.dumps({"bench": "frame", "ours": mine, "peer": peer, "ratio": mine / peer, "unit": "bytes per value"}))


if __name__ == "__main__":
    main()
