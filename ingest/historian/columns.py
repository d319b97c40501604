"""Columns out of a store's answers into Samples, and the order in which rows of several kinds are read."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from telemetry.samples import Blob, Int64s, Kind, Samples, concat, empty, make


def series(
    kind: Kind,
    *,
    time: npt.ArrayLike,
    value: Int64s,
    quality: npt.ArrayLike,
    origin: npt.ArrayLike,
    blobs: Sequence[Blob] = (),
    tag: int = 0,
) -> Samples:
    """Rows of one kind; `value` holds slots. An origin of 0 is none."""
    times = np.asarray(time, dtype=np.int64)
    origins = np.asarray(origin, dtype=np.int64)
    return make(
        np.full(len(times), tag),
        times,
        value,
        kind=int(kind),
        quality=quality,
        blobs=blobs,
        origin=origins if origins.any() else None,
    )


def by_time(parts: Sequence[Samples], limit: int) -> Samples:
    """The first rows of several series by time, older kinds' order kept where times are equal."""
    rows = concat(parts)
    if len(parts) > 1:
        rows = rows.where(np.argsort(rows.time, kind="stable"))
    return rows.where(np.arange(min(limit, len(rows)))) if len(rows) > limit else rows


def newest(parts: Sequence[Samples]) -> Samples:
    """The newest row of each tag out of rows of several kinds, sorted by tag."""
    rows = concat(parts)
    if not len(rows):
        return empty()
    rows = rows.where(np.lexsort((rows.time, rows.tag)))
    return rows.where(np.append(rows.tag[1:] != rows.tag[:-1], True))
