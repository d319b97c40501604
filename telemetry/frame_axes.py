"""Axes of a frame: which tags it has, how many rows each, at which times.

Tags scanned together share one time axis; the others keep times of their own. Times are milliseconds relative to the
frame's wall time.
"""

import numpy as np

from telemetry import columns
from telemetry.columns import ColumnError
from telemetry.samples import Int32s, Int64s, Samples

MAX_AXES = 48


def write(out: columns.Writer, samples: Samples, wall_ms: int) -> tuple[Int64s, Int32s, Int64s]:
    """Write tags and times; returns the order of rows, and tags with their counts in that order."""
    by_tag = np.argsort(samples.tag, kind="stable")
    tag, time = samples.tag[by_tag], samples.time[by_tag] - wall_ms
    starts = np.flatnonzero(np.concatenate(([True], tag[1:] != tag[:-1])))
    tags, counts = tag[starts], np.diff(np.append(starts, len(tag)))
    shared, own = _axes(time, starts, counts)

    out.number(len(shared))
    for members in shared:
        first, count = int(starts[members[0]]), int(counts[members[0]])
        out.number(count)
        out.number(len(members))
        out.signed(np.diff(time[first : first + count], prepend=0))
    sequence = np.concatenate([*shared, own]) if shared else own
    out.number(len(sequence))
    out.signed(np.diff(tags[sequence].astype(np.int64), prepend=0))
    out.signed(counts[own])
    rows = columns.ranges(starts[own], counts[own])
    out.signed(columns.differences(time[rows], counts[own]))
    return by_tag[columns.ranges(starts[sequence], counts[sequence])], tags[sequence], counts[sequence]


def _axes(time: Int64s, starts: Int64s, counts: Int64s) -> tuple[list[Int64s], Int64s]:
    """Groups of tags (positions in `starts`) with identical times, largest first, and those left with times of their own."""
    position = np.arange(len(time)) - np.repeat(starts, counts)
    mixed = (time + 0x9E3779B9) * (2 * position + 0x5851F42D4C957F2D)
    key = np.add.reduceat(mixed, starts) * 31 + counts
    _, inverse, sizes = np.unique(key, return_inverse=True, return_counts=True)
    shared: list[Int64s] = []
    alone = np.ones(len(starts), dtype=bool)
    for group in np.argsort(-sizes, kind="stable")[:MAX_AXES]:
        if sizes[group] < 2:
            break
        members = np.flatnonzero(inverse == group)
        n = int(counts[members[0]])
        if (counts[members] != n).any():
            continue
        grid = time[columns.ranges(starts[members], counts[members])].reshape(len(members), n)
        if (grid == grid[0]).all():
            shared.append(members)
            alone[members] = False
    return shared, np.flatnonzero(alone)


def read(body: columns.Reader, rows: int, wall_ms: int, known: int) -> tuple[Int32s, Int64s, Int64s]:
    members: list[int] = []
    lengths: list[int] = []
    axes: list[Int64s] = []
    total = 0
    for _ in range(body.number(MAX_AXES)):
        length, size = body.number(rows), body.number(rows)
        total += length * size
        if total > rows or not length or not size:
            raise ColumnError("axes do not fit the number of rows")
        axes.append(np.tile(np.cumsum(body.signed(length)), size))
        members.append(size)
        lengths.append(length)
    sequence = body.number(rows)
    tags = np.cumsum(body.signed(sequence))
    if sequence and not (int(tags.min()) >= 0 and int(tags.max()) < known):
        raise ColumnError("a tag is not in the dictionary")
    own = sequence - sum(members)
    if own < 0:
        raise ColumnError("more axes than tags")
    counts = body.signed(own)
    if own and (int(counts.min()) < 1 or int(counts.max()) > rows):
        raise ColumnError("counts do not fit the number of rows")
    if total + int(counts.sum()) != rows:
        raise ColumnError("counts do not fit the number of rows")
    axes.append(columns.sums(body.signed(rows - total), counts))
    counts = np.concatenate((np.repeat(np.array(lengths, dtype=np.int64), np.array(members, dtype=np.int64)), counts))
    return tags.astype(np.int32), counts, np.concatenate(axes) + wall_ms
