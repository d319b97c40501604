"""Watches of a machine drawn from its own physics: what the verifier reads of it, and what an honest cloud shows."""

import random

from simulators.catalogue import make_machine
from simulators.machine import Machine
from simulators.source import quantise
from telemetry.equipment import Tag
from verifier.judging.case import Row, TagCase
from verifier.judging.paths import TagComparison, compare_tag
from verifier.observing.machines import LONGEST, SHORTEST
from verifier.readers.base import TagRead
from verifier.rules.pack import load_pack

LIMITS = load_pack().thresholds.criteria["device.mon.realtime"]
T0, STEP_MS = 1_700_000_000_000, 100
BEGAN, ENDED, READ_UNTIL, LAST = T0 + 4_000, T0 + 19_000, T0 + 20_500, T0 + 24_000
WIRE_MS, EDGE_LAG_MS, EDGE_SPREAD_MS = 20, 60, 320
OWN_TIME, OWN_SPREAD_MS = ("air_compressor", "cnc_machine"), 25  # over OPC UA, samples with the machine's own time


def questions(kind: str, seed: int) -> dict[str, TagComparison]:
    """The tags of a machine of which one drawn watch leaves a question, with their comparison."""
    chance = random.Random(f"{kind} {seed}")
    machine = make_machine(kind, f"{kind}-{seed}", seed)
    for _ in range(chance.randrange(20, 1200)):
        machine.step(0.5)
    shown = _shown(machine)
    times = _read_times(chance)
    own_time = kind in OWN_TIME
    found = {tag.id: _compared(tag, shown, times, chance, own_time=own_time) for tag in machine.type.tags}
    return {tag: compared for tag, compared in found.items() if compared.doubtful}


def _shown(machine: Machine) -> list[dict[str, float]]:
    """All tags, a step apart."""
    rows: list[dict[str, float]] = []
    for _ in range((LAST - T0) // STEP_MS + 1):
        machine.step(STEP_MS / 1000)
        rows.append({tag.id: quantise(machine.values[tag.id], tag.resolution) for tag in machine.type.tags})
    return rows


def _read_times(chance: random.Random) -> list[int]:
    times, at = [], float(BEGAN)
    while at < READ_UNTIL:
        times.append(int(at))
        at += 500 * chance.uniform(SHORTEST, LONGEST) + WIRE_MS
    return times


def _compared(
    tag: Tag, shown: list[dict[str, float]], times: list[int], chance: random.Random, *, own_time: bool
) -> TagComparison:
    def at(t: int) -> float:
        return shown[(t - T0) // STEP_MS][tag.id]

    period = round(tag.period_s * 1000)
    sampled = range(T0 + chance.randrange(period), ENDED, period)
    rows = tuple(Row(t + (0 if own_time else chance.randrange(EDGE_LAG_MS)), at(t), 0) for t in sampled)
    within = tuple(row for row in rows if row.t >= BEGAN)
    case = TagCase(
        id=tag.id,
        kind=tag.kind.name.lower(),
        span=None,
        resolution=tag.resolution,
        deadband=0.0,
        cloud_deadband=0.0,
        period_ms=period,
        cloud_period_ms=period,
        source_time=own_time,
        in_cloud=True,
        reads=tuple(TagRead(t, t + WIRE_MS, at(t + WIRE_MS // 2)) for t in times),
        ways={"history": within, "latest": rows[-1:], "live": within},
        rows=tuple(sorted({*within, *rows[-1:]}, key=lambda row: row.t)),
    )
    margin_ms = LIMITS["path_margin_s"].value * 1000
    fresh_ms = 1000 * max(LIMITS["fresh_periods"].value * tag.period_s, LIMITS["fresh_min_s"].value) + margin_ms
    spread = OWN_SPREAD_MS if own_time else EDGE_SPREAD_MS
    return compare_tag(case, lambda _, row: (row.t, spread), LIMITS, fresh_ms=fresh_ms, due_ms=period + margin_ms)
