"""The package of an alarm: a zip that lets one see how things moved around it, without this system.

    manifest.json   whose alarm, under which version of the rule, the trigger, the window, features of each tag, what moved
                    first, the sealed items it was cut from, and the SHA-256 of every other file
    samples.csv     tag, t_ms, value, quality: the rows as the edge sealed them, exactly
    chart.svg       the trigger's tag and the related ones, limit and trigger marked
    README.txt      what this is, in Chinese and English

The same input gives the same bytes.
"""

import csv
import hashlib
import io
import itertools
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud.alarms import chart, fluctuation
from telemetry import plain, samples
from telemetry.dictionary import DeviceSpec
from telemetry.equipment import equipment_types
from telemetry.windows import Window

SCHEMA = 1
_THEN = (1980, 1, 1, 0, 0, 0)  # the zip format's first day: no clock in the bytes

MAX_UNPACKED = 256 << 20
MAX_FILES = 64

_README = """报警数据包 / Alarm package

{simulated}{what}

manifest.json  报警、规则版本、触发样本、时间窗、各测点特征、首出测点、密封条目与校验和
               alarm, rule version, trigger sample, window, features, first-out, sealed items, checksums
samples.csv    测点, 毫秒时间戳 (UTC), 值, 质量码 (0 为良好)：边缘采集的原始数据，逐行未改
               tag, time in ms UTC, value, quality (0 is good): raw rows as the edge acquired them, unchanged
chart.svg      触发测点与相关测点曲线（北京时间），红色虚线为触发时刻，红色实线为限值
               the trigger's tag and the related ones (UTC+8); dashed red: the trigger, solid red: the limit

特征 / features
  slope_before_per_s, slope_after_per_s  触发前、后每秒斜率（最小二乘）
                                         least squares, per second, before and after the trigger
  deviation, deviation_sd                触发值减去触发前均值，及其与触发前标准差之比
                                         trigger value less the mean before it, and in standard deviations of the time before
  first_out                              最先偏离正常波动范围的测点：时间窗前半段的中位数 ± 4 倍稳健标准差
                                         the tag that left its normal band first: median ± 4 robust s.d. of the first half
                                         of the time before the trigger

时间窗不完整时 manifest.json 的 window.complete 为 false；早于 window.ring_from_ms 的数据边缘已不再保留。
Where rows are missing, window.complete in manifest.json is false; the edge held nothing older than window.ring_from_ms.
"""
_SIMULATED = "仿真数据 SIMULATED\n\n"

Row = list[Any]  # [t, v, q]


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by tag, in time order, of one device."""

    device: DeviceSpec
    rows: Mapping[str, Sequence[Row]]


def build(
    alarm: Mapping[str, Any],
    rule: Mapping[str, Any],
    windows: Sequence[Window],
    *,
    sealed: Sequence[Mapping[str, Any]],
    made_ms: int,
) -> bytes:
    """The zip's bytes. `alarm` and `rule` as the API gives them; `windows` the parts that came; `sealed` says where each lies,
    in the same order: {edge, stream, sequence, hash}. Raises ValueError where no part is given."""
    if not windows:
        raise ValueError("no part of the window has come")
    chosen = _one_answer(windows)
    windows = [windows[at] for at in chosen]
    if len(sealed) >= len(chosen) and max(chosen) < len(sealed):
        sealed = [sealed[at] for at in chosen]
    contents, span = _contents(windows), (windows[0].from_ms, windows[0].to_ms)
    trigger = dict(alarm["trigger"])
    related = [tag for tag in rule.get("related") or () if tag in contents.rows and tag != alarm["tag"]]
    tags = list(dict.fromkeys([alarm["tag"], *related]))
    files = {
        "samples.csv": _csv(contents.rows),
        "chart.svg": chart.draw(
            contents.device, contents.rows, tags, alarm, span=span, limits=_limits(alarm, rule)
        ).encode(),
        "README.txt": _readme(contents.device, alarm, rule).encode(),
    }
    manifest = {
        "schema": SCHEMA,
        "alarm": {key: value for key, value in alarm.items() if key not in ("package", "notices")},
        "rule": dict(rule),
        "trigger": trigger,
        "device": contents.device.uid,
        "simulated": contents.device.simulated,
        "window": _window(windows),
        "tags": _tags(contents),
        "features": {
            tag: fluctuation.features(rows, trigger["t"], trigger["v"] if tag == alarm["tag"] else None)
            for tag, rows in contents.rows.items()
        },
        "first_out": fluctuation.first_out(contents.rows, tags, trigger, span[0]),
        "sealed": [dict(one) for one in sealed],
        "made_ms": made_ms,
        "files": [
            {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in files.items()
        ],
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return _zip({"manifest.json": text.encode(), **files})


def _one_answer(windows: Sequence[Window]) -> list[int]:
    """Which of the parts belong to one answer, in order: an edge that was started in between may have answered twice. That
    which is whole, then that which reaches farthest back, then that with more parts."""
    answers: dict[Any, dict[int, int]] = {}
    for at, one in enumerate(windows):
        key = (one.device, one.from_ms, one.to_ms, one.ring_from_ms, one.parts, one.truncated, one.dictionary.hash)
        answers.setdefault(key, {}).setdefault(one.part, at)

    def worth(parts: dict[int, int]) -> tuple[bool, int, int]:
        first = windows[next(iter(parts.values()))]
        return len(parts) == first.parts, -first.ring_from_ms, len(parts)

    best = max(answers.values(), key=worth)
    return [best[part] for part in sorted(best)]


def _limits(alarm: Mapping[str, Any], rule: Mapping[str, Any]) -> list[float]:
    """What is to be drawn across the trigger's tag: a limit in the tag's own unit, not one of a ratio or a rate."""
    limit = alarm.get("limit")
    if limit is None or rule.get("kind", "limit") != "limit" or rule.get("divisor"):
        return []
    return [limit, -limit] if rule.get("absolute") and limit else [limit]


def _readme(device: DeviceSpec, alarm: Mapping[str, Any], rule: Mapping[str, Any]) -> str:
    what = (
        f"{device.name or device.uid} ({device.uid})：{alarm['zh']} / {alarm.get('en') or alarm['zh']}\n"
        f"报警 alarm {alarm['id']}，规则 rule {rule.get('id')} v{rule.get('version')}"
    )
    return _README.format(simulated=_SIMULATED if device.simulated else "", what=what)


def manifest(data: bytes) -> dict[str, Any]:
    """A package's manifest. Raises ValueError for what is no package."""
    try:
        found = json.loads(_unpacked(data)["manifest.json"])
    except (KeyError, RecursionError) as error:
        raise ValueError("not an alarm's package") from error
    if not isinstance(found, dict):
        raise ValueError("not an alarm's package")
    return found


def check(data: bytes) -> list[str]:
    """What is wrong with a package's files; nothing where each is the one its manifest lists. Any bytes may be given."""
    try:
        listed = {str(one["name"]): (one["sha256"], one["bytes"]) for one in manifest(data)["files"]}
    except (ValueError, KeyError, TypeError) as error:
        return [f"manifest.json: {error}"]
    try:
        there = _unpacked(data)
    except ValueError as error:
        return [str(error)]
    faults = [f"{name}: missing" for name in listed if name not in there]
    for name, content in there.items():
        if name == "manifest.json":
            continue
        if name not in listed:
            faults.append(f"{name}: not in the manifest")
        elif listed[name] != (hashlib.sha256(content).hexdigest(), len(content)):
            faults.append(f"{name}: its checksum or size differs")
    return faults


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Every file. Raises ValueError for what is no zip, holds a name twice, or is larger than any package."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("a file stands in it twice")
            if len(names) > MAX_FILES or sum(one.file_size for one in archive.infolist()) > MAX_UNPACKED:
                raise ValueError("too large for an alarm's package")
            return {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, LookupError) as error:
        raise ValueError("not an alarm's package") from error


def _contents(windows: Sequence[Window]) -> Contents:
    words, uid = windows[0].dictionary, windows[0].device
    device = next(one for one in words.devices if one.uid == uid)
    rows: dict[str, list[Row]] = {}
    parts = sorted(windows, key=lambda one: one.part)
    listed = plain.rows_by_device(samples.concat([one.samples for one in parts]), words)
    for tag, t, v, q in listed.get(uid, []):
        rows.setdefault(tag, []).append([t, v, q])
    return Contents(device, {tag: sorted(some, key=lambda row: row[0]) for tag, some in rows.items()})


def _window(windows: Sequence[Window]) -> dict[str, Any]:
    first = windows[0]
    came = {one.part for one in windows}
    return {
        "from_ms": first.from_ms,
        "to_ms": first.to_ms,
        "asked": {"id": first.id.hex(), "from_ms": first.from_ms, "to_ms": first.to_ms},
        "truncated": any(one.truncated for one in windows),
        "ring_from_ms": first.ring_from_ms,
        "parts": first.parts,
        "parts_here": len(came),
        "complete": len(came) == first.parts and first.ring_from_ms <= first.from_ms,
    }


def _tags(contents: Contents) -> dict[str, Any]:
    types = equipment_types()
    known = types[contents.device.type].tag_by_id if contents.device.type in types else {}
    out: dict[str, Any] = {}
    for spec in contents.device.tags:
        rows = contents.rows.get(spec.id, ())
        times = [row[0] for row in rows]
        out[spec.id] = {
            "zh": known[spec.id].zh if spec.id in known else spec.id,
            "unit": spec.unit,
            "period_ms": spec.period_ms,
            "rows": len(rows),
            "first_ms": times[0] if times else None,
            "last_ms": times[-1] if times else None,
            "largest_gap_ms": max((b - a for a, b in itertools.pairwise(times)), default=None),
        }
    return out


def _csv(rows: Mapping[str, Sequence[Row]]) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["tag", "t_ms", "value", "quality"])
    for tag, some in rows.items():
        lines.writerows([tag, t, _text(v), q] for t, v, q in some)
    return text.getvalue().encode()


def _text(value: Any) -> str:
    """A value so that it can be read back exactly; nothing for none."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _THEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()
