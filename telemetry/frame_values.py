"""Values of a frame, tag by tag in the order of its axes.

Numbers are integers at the tag's declared resolution, each the difference from the one before; float64 bits where no
resolution is declared or a value does not fit it; strings and arrays apart. Quality only where it is not good; origin
only where the source's own time was replaced.
"""

from typing import Any

import numpy as np

from telemetry import columns
from telemetry.columns import ColumnError
from telemetry.dictionary import Dictionary
from telemetry.samples import BLOB_KINDS, Blob, Float64s, Int32s, Int64s, Kind, Quality, Samples, UInt8s, UInt16s

_EXACT = float(1 << 53)  # beyond it neighbouring integers are no longer all float64s
_INTEGER, _WORD, _BLOB = 0, 1, 2  # how a tag's values are written


def write(out: columns.Writer, rows: Samples, tags: Int32s, counts: Int64s, dictionary: Dictionary) -> None:
    has = (rows.quality & Quality.NO_VALUE) == 0
    numbers, words, coding = _numbers(rows, has, tags, counts, dictionary)
    out.raw(coding.tobytes())
    row_coding = np.repeat(coding, counts)
    integer = row_coding == _INTEGER
    out.signed(columns.differences(numbers[integer], counts[coding == _INTEGER]))
    word = row_coding == _WORD
    out.raw(columns.planes(words[word].view(np.uint64)))
    blob = np.flatnonzero((row_coding == _BLOB) & has)
    _write_blobs(out, [rows.blobs[i] for i in rows.value[blob].tolist()])
    odd = np.flatnonzero(rows.quality != 0)
    out.number(len(odd))
    out.signed(np.diff(odd, prepend=0))
    out.signed(rows.quality[odd].astype(np.int64))
    moved = np.zeros(0, np.int64) if rows.origin is None else np.flatnonzero(rows.origin)
    out.number(len(moved))
    out.signed(np.diff(moved, prepend=0))
    out.signed(rows.time[moved] - (rows.origin[moved] if rows.origin is not None else 0))


def _numbers(
    rows: Samples, has: Any, tags: Int32s, counts: Int64s, dictionary: Dictionary
) -> tuple[Int64s, Int64s, UInt8s]:
    """Values as integers at their resolution; the slots of those that are written as they are; the coding of each tag. A value
    is the same whichever others it is framed with: beside one that does not fit the resolution it is rounded all the same."""
    kinds = dictionary.kinds[tags]
    mantissa, power = dictionary.exponents[0][tags], dictionary.exponents[1][tags]
    coding = np.where(np.isin(kinds, BLOB_KINDS), _BLOB, _INTEGER).astype(np.uint8)
    floats = kinds == Kind.FLOAT
    coding[floats & (mantissa == 0)] = _WORD
    numbers = np.where(has, rows.value, 0)
    words = numbers.copy()
    scaled = np.repeat(floats & (mantissa > 0), counts)
    if scaled.any():
        real = np.where(has, rows.value, 0).view(np.float64)[scaled]
        grid = np.repeat(mantissa, counts)[scaled], np.repeat(power, counts)[scaled]
        steps = _steps(real, *grid)
        fits = np.isfinite(steps) & (np.abs(steps) < _EXACT)
        numbers[scaled] = np.where(fits, steps, 0).astype(np.int64)
        if not fits.all():
            misfit = np.zeros(len(rows), dtype=bool)
            misfit[scaled] = ~fits
            words[scaled] = np.where(fits, _reals(steps, *grid), real).view(np.int64)
            coding[np.logical_or.reduceat(misfit, np.cumsum(counts) - counts)] = _WORD
    return numbers, words, coding


def _steps(real: Float64s, mantissa: Float64s, power: Int32s) -> Float64s:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.rint(np.where(power < 0, real * _tens(-power), real / _tens(power)) / mantissa)


def _reals(steps: Float64s, mantissa: Float64s, power: Int32s) -> Float64s:
    """The float64 nearest to steps x resolution: one division by a power of ten, as a decimal parser would round it."""
    with np.errstate(over="ignore", invalid="ignore"):
        whole = steps * mantissa
        return np.where(power < 0, whole / _tens(-power), whole * _tens(power))


def _tens(power: Int32s) -> Float64s:
    return _POWERS[np.clip(power, 0, len(_POWERS) - 1)]


_POWERS = np.array([float(f"1e{k}") for k in range(301)])


def read(body: columns.Reader, tags: Int32s, counts: Int64s, times: Int64s, dictionary: Dictionary) -> Samples:
    n = len(times)
    coding = np.frombuffer(body.raw(), dtype=np.uint8)
    kinds = dictionary.kinds[tags]
    mantissa, power = dictionary.exponents[0][tags], dictionary.exponents[1][tags]
    blob_tag, float_tag = np.isin(kinds, BLOB_KINDS), kinds == Kind.FLOAT
    if len(coding) != len(tags) or not np.array_equal(coding == _BLOB, blob_tag):
        raise ColumnError("codings do not fit the tags")
    if ((coding == _WORD) & ~float_tag).any() or ((coding == _INTEGER) & float_tag & (mantissa == 0)).any():
        raise ColumnError("codings do not fit the tags")
    row_coding = np.repeat(coding, counts)
    value = np.zeros(n, dtype=np.int64)
    integer = row_coding == _INTEGER
    numbers = columns.sums(body.signed(int(integer.sum())), counts[coding == _INTEGER])
    value[integer] = numbers
    scaled = integer & np.repeat(float_tag, counts)
    if scaled.any():
        real = _reals(
            value[scaled].astype(np.float64), np.repeat(mantissa, counts)[scaled], np.repeat(power, counts)[scaled]
        )
        value[scaled] = real.view(np.int64)
    word = row_coding == _WORD
    value[word] = columns.unplanes(body.raw(), int(word.sum())).view(np.int64)
    blobs = _read_blobs(body, n)
    quality = np.zeros(n, dtype=np.uint16)
    odd = _positions(body, n)
    quality[odd] = _quality_codes(body.signed(len(odd)))
    has = (quality & Quality.NO_VALUE) == 0
    value[~has] = 0
    row_kinds = np.repeat(kinds, counts)
    referring = (row_coding == _BLOB) & has
    if int(referring.sum()) != len(blobs):
        raise ColumnError("blobs do not fit their rows")
    strings = np.array([isinstance(blob, str) for blob in blobs], dtype=bool)
    if not np.array_equal(row_kinds[referring] == Kind.STRING, strings):
        raise ColumnError("blobs do not fit their kinds")
    value[referring] = np.arange(len(blobs))
    moved = _positions(body, n)
    offsets = body.signed(len(moved))
    origin = None
    if len(moved):
        origin = np.zeros(n, dtype=np.int64)
        origin[moved] = times[moved] - offsets
    return Samples(np.repeat(tags, counts), times, value, quality, row_kinds, tuple(blobs), origin)


def _positions(body: columns.Reader, n: int) -> Int64s:
    rows = np.cumsum(body.signed(body.number(n)))
    if len(rows) and (int(rows[0]) < 0 or int(rows[-1]) >= n or (np.diff(rows) <= 0).any()):
        raise ColumnError("positions out of order")
    return rows


def _quality_codes(codes: Int64s) -> UInt16s:
    if len(codes) and not (int(codes.min()) > 0 and int(codes.max()) <= 0xFFFF):
        raise ColumnError("quality out of range")
    return codes.astype(np.uint16)


def _write_blobs(out: columns.Writer, blobs: list[Blob]) -> None:
    out.number(len(blobs))
    for blob in blobs:
        out.number(int(isinstance(blob, str)))
        out.raw(blob.encode() if isinstance(blob, str) else blob.astype("<f8").tobytes())


def _read_blobs(body: columns.Reader, limit: int) -> list[Blob]:
    blobs: list[Blob] = []
    for _ in range(body.number(limit)):
        text = body.number(1)
        data = body.raw()
        blobs.append(data.decode() if text else np.frombuffer(data, dtype="<f8"))
    return blobs
