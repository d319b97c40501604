"""Columns → line protocol, by whole columns: numbers become text in one call for all of them, and a line's text is one
`bytes` template, made once for each set of fields that occurs together and filled with what the numbers became.

One line a device and time. What each field means stands in `fields`. A row later in the samples replaces an earlier one
of the same tag and time. Times that InfluxDB cannot hold (before 1678, after 2261) are left out and counted.
"""

import base64
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import orjson

from ingest.historian import fields
from ingest.historian.fields import Part
from telemetry.dictionary import Dictionary
from telemetry.samples import Int64s, Kind, Quality, Samples

MAX_TIME_MS = ((1 << 63) - 1) // 1_000_000 - 1
_PARTS = len(Part)
_FORMAT = {Kind.FLOAT: b"%b", Kind.BOOL: b"%b", Kind.STRING: b'"%b"', Kind.ARRAY: b'"%b"'}
_BOOL = (b"false", b"true")


class Encoder:
    """Line protocol for the samples of one dictionary. Keeps its templates."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary
        self._templates: dict[bytes, bytes] = {}
        self.left_out = 0

    def lines(self, samples: Samples) -> list[bytes]:
        """Lines with ms times, without line ends, by device and time."""
        samples = self._storable(samples)
        if not len(samples):
            return []
        row, part, texts = _field_texts(samples)
        time, tag = samples.time[row], samples.tag[row].astype(np.int64)
        code = tag * _PARTS + part
        device = self._dictionary.device_of[tag]
        order = np.lexsort((code, time, device))
        time, device, code = time[order], device[order], code[order]
        starts = np.flatnonzero(np.concatenate(([True], (time[1:] != time[:-1]) | (device[1:] != device[:-1]))))
        stamps = _integers(time[starts])
        ordered = texts if _in_order(order) else [texts[i] for i in order.tolist()]
        raw, width = code.tobytes(), code.itemsize
        ends = [*starts[1:].tolist(), len(code)]
        out: list[bytes] = []
        for start, end, stamp in zip(starts.tolist(), ends, stamps, strict=True):
            signature = raw[start * width : end * width]
            template = self._templates.get(signature)
            if template is None:
                template = self._template(signature, code[start:end])
            out.append(template % (*ordered[start:end], stamp))
        return out

    def _template(self, signature: bytes, codes: Int64s) -> bytes:
        if len(self._templates) >= 10_000:
            self._templates.clear()
        enterprise = fields.escape(fields.encode_name(self._dictionary.enterprise))
        device = self._dictionary.tags[int(codes[0]) // _PARTS][0]
        head = b"%b,enterprise=%b,device=%b " % (
            fields.escape_measurement(fields.encode_name(device.type)),
            enterprise,
            fields.escape(fields.encode_name(device.uid)),
        )
        parts: list[bytes] = []
        for code in codes.tolist():
            tag, part = self._dictionary.tags[code // _PARTS][1], Part(code % _PARTS)
            name = fields.escape(fields.field_name(tag.id, tag.kind, part)).replace(b"%", b"%%")
            shape = _FORMAT.get(tag.kind, b"%bi") if part in (Part.VALUE, Part.BAD) else b"%bi"
            parts.append(name + b"=" + shape)
        template = self._templates[signature] = head.replace(b"%", b"%%") + b",".join(parts) + b" %b"
        return template

    def _storable(self, samples: Samples) -> Samples:
        keep = np.abs(samples.time) <= MAX_TIME_MS
        if not keep.all():
            self.left_out += int((~keep).sum())
            samples = samples.where(keep)
        order = np.lexsort((samples.time, samples.tag))  # stable: the last of equal rows is the latest to come
        tag, time = samples.tag[order], samples.time[order]
        again = np.append((tag[1:] == tag[:-1]) & (time[1:] == time[:-1]), False)
        return samples.where(np.sort(order[~again])) if again.any() else samples


def bodies(lines: Sequence[bytes], limit: int = 4 << 20) -> list[bytes]:
    """Lines joined into request bodies of about `limit` bytes."""
    out: list[bytes] = []
    start = size = 0
    for i, line in enumerate(lines):
        if size and size + len(line) > limit:
            out.append(b"\n".join(lines[start:i]))
            start, size = i, 0
        size += len(line) + 1
    if size:
        out.append(b"\n".join(lines[start:]))
    return out


def _field_texts(samples: Samples) -> tuple[Int64s, Int64s, list[bytes]]:
    """(row, part, text) of every field of every row."""
    has = (samples.quality & Quality.NO_VALUE) == 0
    bad = np.where(samples.quality & Quality.BAD, int(Part.BAD), int(Part.VALUE))
    kind = samples.kind
    floats = has & (kind == Kind.FLOAT)
    real = samples.value.view(np.float64)
    finite = floats & np.isfinite(real)
    rows: list[Int64s] = []
    parts: list[npt.NDArray[np.int64]] = []
    texts: list[bytes] = []

    def add(row: Int64s, part: npt.ArrayLike, text: list[bytes]) -> None:
        if len(row):
            rows.append(row)
            parts.append(np.broadcast_to(np.asarray(part, dtype=np.int64), row.shape))
            texts.extend(text)

    row = np.flatnonzero(finite)
    add(row, bad[row], _floats(real[row]))
    row = np.flatnonzero(floats & ~finite)
    add(row, Part.BITS, _integers(samples.value[row]))
    row = np.flatnonzero(has & np.isin(kind, (Kind.INT, Kind.UINT, Kind.ENUM)))
    add(row, bad[row], _integers(samples.value[row]))
    row = np.flatnonzero(has & (kind == Kind.BOOL))
    add(row, bad[row], [_BOOL[value] for value in (samples.value[row] != 0).tolist()])
    row = np.flatnonzero(has & np.isin(kind, (Kind.STRING, Kind.ARRAY)))
    add(row, bad[row], [_blob(samples, i) for i in samples.value[row].tolist()])
    row = np.flatnonzero(samples.quality)
    add(row, Part.QUALITY, _integers(samples.quality[row].astype(np.int64)))
    if samples.origin is not None:
        row = np.flatnonzero(samples.origin)
        add(row, Part.ORIGIN, _integers(samples.origin[row]))
    return np.concatenate(rows), np.concatenate(parts), texts


def _blob(samples: Samples, index: int) -> bytes:
    blob = samples.blobs[index]
    return fields.escape_string(blob) if isinstance(blob, str) else base64.b64encode(blob.astype("<f8").tobytes())


def _floats(values: npt.NDArray[np.float64]) -> list[bytes]:
    return _split(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY))


def _integers(values: Int64s) -> list[bytes]:
    return _split(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY))


def _split(array: bytes) -> list[bytes]:
    return array[1:-1].split(b",") if len(array) > 2 else []


def _in_order(order: Int64s) -> bool:
    return bool((order == np.arange(len(order))).all())
