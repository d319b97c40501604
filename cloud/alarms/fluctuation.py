"""How tags moved around an alarm: slopes before and after the trigger, deviation, and which moved first.

Only rows with a finite value that is not bad count. Slopes are least squares of value on time, per second, over the rows
before the trigger's time and over those from it on. Deviation is the trigger's value (of another tag: its value in force
at that time) less the mean before it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from telemetry.samples import Float64s, Quality

Row = Sequence[Any]  # [t, v, q]

NORMAL_Z = 4.0  # robust standard deviations
FEWEST = 3  # rows that tell what is normal
_MAD_TO_SD = 1.4826  # of a normal distribution


def counted(rows: Sequence[Row]) -> tuple[Float64s, Float64s]:
    """(times in ms, values) of the rows that count. A switched value counts as 0 or 1."""
    use = [
        (t, float(v))
        for t, v, q in rows
        if isinstance(v, int | float) and not q & (Quality.BAD | Quality.NO_VALUE) and math.isfinite(v)
    ]
    found = np.array(use, dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def features(rows: Sequence[Row], at_ms: int, value: float | None) -> dict[str, float | int | None]:
    """Features of one tag around a moment; `value` is the trigger's, None for another tag. None where there are too few rows
    or the figure lies beyond what a float64 can hold."""
    t, v = counted(rows)
    before = t < at_ms
    early, late = v[before], v[~before]
    if value is None and len(v):
        value = float(v[max(0, int(np.searchsorted(t, at_ms, side="right")) - 1)])
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _finite(early.mean()) if len(early) else None
        std = _finite(early.std()) if len(early) else None
        deviation = None if mean is None or value is None else _finite(value - mean)
        return {
            "rows": len(v),
            "mean": _finite(v.mean()) if len(v) else None,
            "std": _finite(v.std()) if len(v) else None,
            "min": float(v.min()) if len(v) else None,
            "max": float(v.max()) if len(v) else None,
            "mean_before": mean,
            "std_before": std,
            "slope_before_per_s": slope(t[before], early),
            "slope_after_per_s": slope(t[~before], late),
            "deviation": deviation,
            "deviation_sd": None if deviation is None or not std else _finite(deviation / std),
        }


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def slope(t: Float64s, v: Float64s) -> float | None:
    """Least squares of v on t (ms), per second; None where there are fewer than two times."""
    if len(t) < 2 or t.min() == t.max():
        return None
    seconds = (t - t[0]) / 1000
    off = seconds - seconds.mean()
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(off @ (v - v.mean()) / (off @ off))


def first_out(
    rows: Mapping[str, Sequence[Row]], tags: Sequence[str], trigger: Mapping[str, Any], from_ms: int
) -> dict[str, Any]:
    """Which of `tags` (the trigger's tag first, then the related ones) left its normal band first: {tag, t, why, z}.

    The normal band of a tag is median ± NORMAL_Z robust standard deviations (1.4826 × the median absolute deviation,
    Rousseeuw & Croux 1993) of its rows in the first half of the time from the window's begin to the trigger. Looked for from
    there to the trigger: `why` is "left_normal_band" and `z` how far out in those deviations. A tag that did not move at all
    in the first half leaves its band by any change; `z` is then None. If none left its band, it is the trigger's own tag,
    which crossed its limit at the trigger: `why` is "limit".
    """
    at = int(trigger["t"])
    best: dict[str, Any] = {"tag": tags[0], "t": at, "why": "limit", "z": None}
    half = from_ms + (at - from_ms) // 2
    for tag in tags:
        t, v = counted(rows.get(tag, ()))
        normal = v[t < half]
        later = (t >= half) & (t < at)
        if len(normal) < FEWEST or not later.any():
            continue
        with np.errstate(over="ignore"):
            centre = float(np.median(normal))
            spread = _MAD_TO_SD * float(np.median(np.abs(normal - centre)))
            away = np.abs(v[later] - centre)
        out = np.flatnonzero(away > NORMAL_Z * spread)
        if len(out) and t[later][out[0]] < best["t"]:
            z = _finite(away[out[0]] / spread) if spread else None
            best = {"tag": tag, "t": int(t[later][out[0]]), "why": "left_normal_band", "z": z}
    return best
