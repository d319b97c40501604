"""The overview: every machine as a card, worst first."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from cloud.auth import Caller
from dashboards import api, i18n, machines
from dashboards.render import page

router = APIRouter()

_MOST_READ = 200  # machines whose newest values the server writes itself; those of more come with the live snapshot
_MOST_ALARMS = 500


@router.get("/")
async def overview(request: Request, caller: Caller) -> Response:
    """The whole page."""
    return page(request, caller, "overview.html", place="overview", **await _fleet(request))


@router.get("/parts/machines")
async def cards(request: Request, caller: Caller) -> Response:
    """The cards alone, when something has changed."""
    return page(request, caller, "_machines.html", **await _fleet(request))


@router.get("/parts/alarms")
async def alarm_count(request: Request, caller: Caller) -> Response:
    """How many alarms are open, and the worst of them: what stands beside the word in the navigation."""
    alarms = await open_alarms(request)
    worst = min((int(one["priority"]) for one in alarms), default=0)
    return page(request, caller, "_alarm_count.html", count=len(alarms), worst=worst, more=len(alarms) >= _MOST_ALARMS)


async def open_alarms(request: Request, device: str | None = None) -> list[dict[str, Any]]:
    """Alarms that are active or unacknowledged, worst first."""
    return (await api.get(request, "/alarms", state="open", device=device, limit=_MOST_ALARMS))["alarms"]


async def _fleet(request: Request) -> dict[str, Any]:
    listed, alarms, edges = await asyncio.gather(
        api.get(request, "/devices"), open_alarms(request), api.get(request, "/edges")
    )
    devices = listed["devices"]
    read = devices[:_MOST_READ]
    newest = await asyncio.gather(*(api.get(request, f"/devices/{one['uid']}/latest") for one in read))
    values = {one["device"]: one["values"] for one in newest}
    language = i18n.language_of(request)
    views = [
        machines.machine_view(
            one, values.get(one["uid"], {}), alarms, language=language, now_ms=int(listed["server_ms"])
        )
        for one in devices
    ]
    states = Counter("stale" if one.stale else (one.run_state or "unknown") for one in views)
    active = Counter(int(one["priority"]) for one in alarms if one["state"] == "active")
    return {
        "machines": sorted(views, key=lambda one: one.worst),
        "states": states,
        "active": {priority: active[priority] for priority in sorted(active)},
        "unacknowledged": sum(one["acknowledged"] is None for one in alarms),
        "edges": edges["edges"],
        "edges_off": sum(not one["online"] and one["revoked_ms"] is None for one in edges["edges"]),
        "state_name": partial(machines.run_state_name, language=language),
        "fleet_simulated": any(one.simulated for one in views),
    }
