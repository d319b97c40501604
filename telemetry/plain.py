"""Samples as plain values, for JSON: where they leave the system for a page or an inspector."""

from typing import Any

import numpy as np

from telemetry.dictionary import Dictionary
from telemetry.samples import BLOB_KINDS, Kind, Quality, Samples


def values(samples: Samples) -> list[Any]:
    """One plain value a row: float, int, bool, str, list of floats, or None where there is none. JSON has no NaN and no
    infinity: they become None too. Integers stay integers of any size."""
    has = (samples.quality & Quality.NO_VALUE) == 0
    out: list[Any] = samples.value.tolist()
    real = samples.value.view(np.float64)
    floats = samples.kind == Kind.FLOAT
    for row, value in zip(np.flatnonzero(floats).tolist(), real[floats].tolist(), strict=True):
        out[row] = value
    for row in np.flatnonzero(samples.kind == Kind.UINT).tolist():
        out[row] &= 0xFFFF_FFFF_FFFF_FFFF
    for row in np.flatnonzero(samples.kind == Kind.BOOL).tolist():
        out[row] = bool(out[row])
    for row in np.flatnonzero(np.isin(samples.kind, BLOB_KINDS) & has).tolist():
        blob = samples.blobs[out[row]]
        out[row] = blob if isinstance(blob, str) else blob.tolist()
    with np.errstate(invalid="ignore"):
        none = ~has | (floats & ~np.isfinite(real))
    for row in np.flatnonzero(none).tolist():
        out[row] = None
    return out


def rows_by_device(samples: Samples, words: Dictionary) -> dict[str, list[list[Any]]]:
    """Rows [tag id, time ms, value, quality] of each device that has any, by uid."""
    out: dict[str, list[list[Any]]] = {}
    columns = (samples.tag.tolist(), samples.time.tolist(), values(samples), samples.quality.tolist())
    for number, time, value, code in zip(*columns, strict=True):
        device, tag = words.tags[number]
        out.setdefault(device.uid, []).append([tag.id, time, value, code])
    return out
