"""The trend page. The first answer comes with the page, the same that the browser will ask for when the picture is moved;
so the page is right without a script, too, but for the picture."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from cloud import fleet
from cloud.auth import Caller, House
from cloud.errors import ApiError, Json
from dashboards import api, i18n
from dashboards.pages import machines_list
from dashboards.pages.words import REASONS
from dashboards.render import page
from telemetry import clock

router = APIRouter()

POINTS = 1000
MOST_SERIES = 16
LASTS = {"15m": "15 分钟", "1h": "1 小时", "8h": "8 小时", "1d": "1 天", "7d": "7 天", "30d": "30 天", "90d": "90 天"}
FEATURES = {"min": "min", "max": "max", "mean": "mean", "std": "std", "trend": "trend_per_h"}
_DEFAULT = "1h"
_LAST = re.compile(r"([1-9]\d{0,4})([smhd])")
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SERIES = Annotated[list[str], Query(alias="s", default_factory=list)]
_Time = Annotated[int | None, Query(ge=0, le=1 << 53)]
_WORDS = {
    "loading": "正在查询…",
    "failed": "查询失败，请重试",
    "too_many": "最多 16 条曲线",
    "bad_range": "请填写起止时间，且起点早于终点",
    "remove": "移除",
    "raw": "原始",
    "reduced": "抽稀",
    "good": "良好",
    "uncertain": "存疑",
    "bad": "坏值",
    "simulated": "仿真数据 SIMULATED",
    "gap": "缺数",
    "late": "补传",
    "arrived": "到达时间",
    "tags": "个测点",
}


def lasting_ms(text: str | None) -> int | None:
    """`8h` in milliseconds; None for anything else."""
    found = _LAST.fullmatch(text or "")
    return int(found[1]) * _UNITS_MS[found[2]] if found else None


def range_of(from_ms: int | None, to_ms: int | None, last: str | None, now_ms: int) -> tuple[int, int]:
    """The range that an address asks for: from–to, else the last so long."""
    if from_ms is not None and to_ms is not None and from_ms < to_ms:
        return from_ms, to_ms
    return now_ms - (lasting_ms(last) or _UNITS_MS["h"]), now_ms


@router.get("/trend")
async def trend(
    request: Request,
    caller: Caller,
    house: House,
    s: _SERIES,
    from_: Annotated[_Time, Query(alias="from")] = None,
    to: _Time = None,
    last: Annotated[str | None, Query(max_length=8)] = None,
) -> HTMLResponse:
    """Curves of any tags over any range."""
    now = clock.now_ms()
    from_ms, to_ms = range_of(from_, to, last, now)
    series = list(dict.fromkeys(one for one in s if ":" in one))[:MOST_SERIES]
    translate = i18n.translator(i18n.language_of(request))
    answer: dict[str, Any] | None = None
    problem = ""
    if series:
        try:
            answer = await api.get(request, "/trend", series=series, from_=from_ms, to=to_ms, points=POINTS)
        except ApiError as error:
            problem = error.en if i18n.language_of(request) == "en" else error.zh
    found = await machines_list.machines(house, caller)
    shown = {one.partition(":")[0] for one in series}
    return page(
        request,
        caller,
        "trend.html",
        place="trend",
        machines=machines_list.options(found.values()),
        series=series,
        answer=answer,
        problem=problem,
        from_ms=from_ms,
        to_ms=to_ms,
        lasts=LASTS,
        features=FEATURES,
        simulated=any(uid in found and found[uid].spec.simulated for uid in shown),
        trend_words={
            **{name: translate(text) for name, text in _WORDS.items()},
            "columns": [translate(text) for text in ("类别", "测点", "从", "到", "时长", "原因")],
            "reasons": {name: translate(text) for name, text in REASONS.items()},
            "simulated_machines": [uid for uid, one in found.items() if one.spec.simulated],
        },
    )


@router.get("/trend/tags/{uid}")
async def tags(uid: str, caller: Caller, house: House) -> Json:
    """The tags of a machine that curves can be drawn of."""
    one = await fleet.device(house.catalogue, caller.enterprise, uid)
    return Json({"tags": machines_list.plain(machines_list.tags_of(one, drawn=True))})
