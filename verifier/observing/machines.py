"""Reading machines directly for a while, and writing down what the plant declared of them."""

import asyncio
import contextlib
import random
from typing import Any

from telemetry.equipment import EquipmentType, equipment_file
from telemetry.points import Machine, ModbusPoint
from verifier.readers.base import Clock, Identity, Reader

MAX_SCANS = 2000
LAST_SCAN_S = 3.0
IDENTITY_S = 6.0  # a large address space must not eat the time for reading values
RETRY_S = 1.0
SHORTEST, LONGEST = 0.2, 1.2  # of the interval between two reads: no fixed grid, so nothing can pulse in step with it
CHANCE = random.SystemRandom()


async def watch(reader: Reader, *, clock: Clock, every_s: float, stop: asyncio.Event) -> dict[str, Any]:
    """Identity once, then scans until `stop`.

    {identity: {nameplate, uri, reason, simulated}, reads: {tag: [[before, after, value, reason], …]},
    clock: [[before, theirs, after], …], silent: [[at, reason], …], scans}
    """
    record: dict[str, Any] = {"reads": {}, "clock": [], "silent": [], "scans": 0}
    try:
        await _watch(reader, record, clock, every_s, stop)
    finally:
        await reader.close()
    return record


async def _watch(reader: Reader, record: dict[str, Any], clock: Clock, every_s: float, stop: asyncio.Event) -> None:
    try:
        identity = await asyncio.wait_for(reader.identity(), IDENTITY_S)
    except TimeoutError:
        identity = Identity(reason="no_reply")
    record["identity"] = {
        "nameplate": dict(identity.nameplate),
        "uri": identity.uri,
        "reason": identity.reason,
        "simulated": identity.simulated,
    }
    work = asyncio.create_task(_scan_on(reader, record, clock, every_s, stop), name="read a machine")
    try:
        await stop.wait()
        await asyncio.wait({work}, timeout=LAST_SCAN_S)
    finally:
        unfinished = work.cancel()
        await asyncio.wait({work})
    if unfinished:
        record["silent"].append([clock(), "no_reply"])
    else:
        work.result()


async def _scan_on(reader: Reader, record: dict[str, Any], clock: Clock, every_s: float, stop: asyncio.Event) -> None:
    for _ in range(MAX_SCANS):
        started = clock()
        scan = await reader.scan()
        if scan.reason:
            record["silent"].append([started, scan.reason])
        else:
            record["scans"] += 1
            for tag, read in scan.reads.items():
                record["reads"].setdefault(tag, []).append([read.before, read.after, read.value, read.reason])
            if scan.machine_ms is not None and scan.machine_window is not None:
                before, after = scan.machine_window
                record["clock"].append([before, scan.machine_ms, after])
        if stop.is_set():
            return
        due_s = every_s * CHANCE.uniform(SHORTEST, LONGEST)
        pause = RETRY_S if scan.reason else max(0.02, due_s - (clock() - started) / 1000)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


def declared(machine: Machine) -> dict[str, Any]:
    """What the plant's signed list and the equipment catalogue say of a machine: the yardstick of every comparison.

    A type that the catalogue does not know has no ranges, periods of one second and no run state.
    """
    known = equipment_file().equipment.get(machine.type)
    return {
        "uid": machine.uid,
        "type": machine.type,
        "name": machine.name,
        "simulated": machine.simulated,
        "nameplate": dict(machine.nameplate),
        "protocol": machine.connection.protocol,
        "tags": {point.tag: _tag(machine, point, known) for point in machine.points},
        "run_state": _run_state(known),
    }


def _tag(machine: Machine, point: Any, known: EquipmentType | None) -> dict[str, Any]:
    tag = known.tag_by_id.get(point.tag) if known else None
    whole = isinstance(point, ModbusPoint) and not point.type.startswith("float")
    return {
        "kind": tag.kind.name.lower() if tag else None,
        "lo": tag.lo if tag else None,
        "hi": tag.hi if tag else None,
        "resolution": tag.resolution if tag else None,
        "step": abs(point.scale) if whole else None,
        "deadband": point.deadband,
        "period_ms": machine.period_ms or (round(tag.period_s * 1000) if tag else 1000),
    }


def _run_state(known: EquipmentType | None) -> dict[str, Any] | None:
    if known is None:
        return None
    tag = known.tag(known.status.run_state)
    names = equipment_file().meta.run_state_names
    return {
        "tag": tag.id,
        "states": {str(value): [s.name, names[s.name], s.zh] for value, s in tag.states.items()},
    }
