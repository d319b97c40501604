"""One machine: every value with its quality and age."""

import asyncio

from fastapi import APIRouter, Request, Response

from cloud.auth import Caller
from dashboards import api, i18n, machines
from dashboards.pages.overview import open_alarms
from dashboards.render import page

router = APIRouter()

PLATE = {  # msgids of what nameplates are read as
    "maker": "制造商",
    "model": "型号",
    "serial": "出厂编号",
    "version": "版本",
    "product": "产品",
    "product_code": "产品代码",
    "application": "应用程序",
    "application_uri": "应用程序标识",
    "made": "出厂日期",
    "rated": "额定参数",
}


@router.get("/machines/{uid}")
async def machine(request: Request, uid: str, caller: Caller) -> Response:
    """The page."""
    found, latest, alarms = await asyncio.gather(
        api.get(request, f"/devices/{uid}"), api.get(request, f"/devices/{uid}/latest"), open_alarms(request, uid)
    )
    device, language = found["device"], i18n.language_of(request)
    views = machines.tag_views(device, latest["values"], language)
    card = machines.machine_view(device, latest["values"], alarms, language=language, now_ms=int(latest["server_ms"]))
    return page(
        request,
        caller,
        "machine.html",
        place="overview",
        device=device,
        machine=card,
        groups=machines.groups(device, views),
        severities=machines.SEVERITIES,
        alarms=alarms,
        uid=uid,
        plate=PLATE,
    )


@router.get("/parts/machines/{uid}/alarms")
async def machine_alarms(request: Request, uid: str, caller: Caller) -> Response:
    """The machine's open alarms alone, when one has changed."""
    return page(request, caller, "_machine_alarms.html", uid=uid, alarms=await open_alarms(request, uid))
