"""What pages say of a machine: names, groups of tags, how a value is read. Pure functions of what the API answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.i18n import Language
from telemetry.equipment import EquipmentType, Tag, TagKind, equipment_file, equipment_types
from telemetry.samples import Quality, reason_name, severity_name

KEY_TAGS: dict[str, tuple[str, ...]] = {  # what an operator looks at first, on the overview's card
    "blast_furnace": ("hot_blast_temp", "hot_blast_pressure", "top_pressure", "permeability_index"),
    "industrial_boiler": ("steam_pressure", "steam_flow", "drum_level", "burner_load"),
    "diesel_engine": ("active_power", "engine_speed", "oil_pressure", "coolant_temp"),
    "large_motor": ("active_power", "current_a", "bearing_temp_de", "vibration_de"),
    "air_compressor": ("discharge_pressure", "air_flow", "motor_power", "discharge_temp"),
    "wind_turbine": ("active_power", "wind_speed", "generator_speed", "gearbox_oil_temp"),
    "photovoltaic": ("ac_power", "poa_irradiance", "dc_voltage", "inverter_temp"),
    "construction_machinery": ("engine_speed", "coolant_temp", "fuel_level", "hydraulic_oil_temp"),
    "cnc_machine": ("spindle_speed", "spindle_load", "feed_actual", "spindle_temp"),
}
_KEY = 4
SILENT_MS = 5000
NO_PRIORITY = 9

# msgids
GROUPS: tuple[tuple[str, tuple[TagKind, ...]], ...] = (
    ("运行状态", (TagKind.BOOLEAN, TagKind.ENUM)),
    ("设定值", (TagKind.SETPOINT,)),
    ("累计值", (TagKind.COUNTER,)),
    ("测量值", (TagKind.ANALOGUE,)),
    ("计算值与化验值", (TagKind.DERIVED, TagKind.LABORATORY)),
)
OTHERS = "其他测点"
YES_NO = {"0": "否", "1": "是"}
SEVERITIES = {"good": "良好", "uncertain": "存疑", "bad": "坏值", "none": "无值"}
REASONS = {
    "not_connected": "未连接设备",
    "no_reply": "设备无应答",
    "device_bad": "设备报告坏值",
    "device_uncertain": "设备报告存疑",
    "not_a_number": "不是数值",
    "out_of_range": "超出量程",
    "not_available": "设备未提供",
    "clock": "时钟偏差",
    "undecodable": "无法解码",
    "stopped": "采集已停止",
    "too_large": "数据过大",
}


@dataclass(frozen=True, slots=True)
class TagView:
    """A tag as a row. `states` by the value's text, in the page's language; `t`, `v`, `q` its newest sample."""

    id: str
    name: str
    unit: str
    decimals: int | None
    states: Mapping[str, str]
    lo: float | None
    hi: float | None
    period_ms: int
    t: int | None = None
    v: Any = None
    q: int | None = None

    @property
    def severity(self) -> str:
        """good, uncertain, bad, or none: there is no value."""
        return "none" if self.q is None or self.q & Quality.NO_VALUE else severity_name(self.q)

    @property
    def reason(self) -> str | None:
        """Why the quality is not good: a msgid, or the device's own code."""
        if self.q is None or not self.q & 0xFF:
            return None
        name = reason_name(self.q)
        return REASONS.get(name, name.replace("modbus_exception_", "Modbus "))

    @property
    def text(self) -> str:
        """The value as it is read; static/js/values.js writes the same."""
        if self.v is None:
            return "—"
        if self.states:
            return self.states.get(str(int(self.v)), str(self.v))
        if isinstance(self.v, list):
            return "[…]"
        if not isinstance(self.v, int | float):
            return str(self.v)
        return f"{self.v:.6g}" if self.decimals is None else f"{self.v:.{self.decimals}f}"

    @property
    def needle(self) -> float:
        """Where the indicator's pointer stands, 0 to 98; -9 (out of sight) without a value. The typical range is 25 to 75."""
        if self.lo is None or self.hi is None or self.hi <= self.lo or not isinstance(self.v, int | float):
            return -9.0
        return round(min(98.0, max(0.0, 25 + 50 * (self.v - self.lo) / (self.hi - self.lo) - 1)), 2)


@dataclass(frozen=True, slots=True)
class MachineView:
    """A machine as a card. `run_state` is one of meta.run_state_names, or None where it is not known."""

    uid: str
    name: str
    type: str
    type_name: str
    edge: str
    simulated: bool
    last_ms: int | None
    fast_ms: int
    run: TagView | None
    run_state: str | None
    key: Sequence[TagView]
    bad: int
    stale: bool
    alarms: Mapping[int, int] = field(default_factory=dict[int, int])

    @property
    def worst(self) -> tuple[int, str]:
        """The worse, the lower."""
        rank = min(self.alarms, default=NO_PRIORITY) * 10
        if self.stale:
            rank = min(rank, 15)
        if self.run_state == "fault":
            rank = min(rank, 25)
        if self.bad:
            rank = min(rank, 45)
        return rank, self.uid


def type_name(kind: str, language: Language) -> str:
    """What a type is called."""
    known = equipment_types().get(kind)
    return known.zh if known and language == "zh" else kind.replace("_", " ")


def silent_ms(device: Mapping[str, Any]) -> tuple[int, int]:
    """Period of the fastest tag, and after how long without data a machine's data have stopped."""
    fast = min((int(tag["period_ms"]) for tag in device["tags"]), default=1000)
    return fast, max(3 * fast, SILENT_MS)


def tag_views(device: Mapping[str, Any], values: Mapping[str, Any], language: Language) -> dict[str, TagView]:
    """Every tag of a machine as /devices describes it, with its newest value."""
    kind = equipment_types().get(device["type"])
    return {tag["id"]: _tag_view(tag, kind, values.get(tag["id"], {}), language) for tag in device["tags"]}


def groups(device: Mapping[str, Any], views: Mapping[str, TagView]) -> list[tuple[str, list[TagView]]]:
    """(msgid, rows) of every group that has rows."""
    kind = equipment_types().get(device["type"])
    known = kind.tag_by_id if kind else {}
    out = [
        (title, [view for name, view in views.items() if name in known and known[name].kind in kinds])
        for title, kinds in GROUPS
    ]
    out.append((OTHERS, [view for name, view in views.items() if name not in known]))
    return [(title, rows) for title, rows in out if rows]


def machine_view(
    device: Mapping[str, Any],
    values: Mapping[str, Any],
    alarms: Sequence[Mapping[str, Any]],
    *,
    language: Language,
    now_ms: int,
) -> MachineView:
    """A machine as a card; `alarms` are the open ones of every machine."""
    views = tag_views(device, values, language)
    kind = equipment_types().get(device["type"])
    run = views.get(kind.status.run_state) if kind else None
    fast, limit = silent_ms(device)
    newest = [view.t for view in views.values() if view.t is not None]
    last = max(newest, default=device.get("last_ms"))
    own = [int(one["priority"]) for one in alarms if one["device"] == device["uid"] and one["state"] == "active"]
    return MachineView(
        uid=device["uid"],
        name=device["name"],
        type=device["type"],
        type_name=type_name(device["type"], language),
        edge=device["edge"],
        simulated=device["simulated"],
        last_ms=last,
        fast_ms=fast,
        run=run,
        run_state=_run_state(kind, run),
        key=_key_tags(kind, views),
        bad=sum(view.severity == "bad" or (view.severity == "none" and view.q is not None) for view in views.values()),
        stale=last is None or now_ms - last > limit + SILENT_MS,
        alarms={priority: own.count(priority) for priority in sorted(set(own))},
    )


def run_state_name(state: str | None, language: Language) -> str:
    """A run state in words."""
    if state is None:
        return "—"
    return equipment_file().meta.run_state_names[state] if language == "zh" else state


def _tag_view(tag: Mapping[str, Any], kind: EquipmentType | None, sample: Any, language: Language) -> TagView:
    known = kind.tag_by_id.get(tag["id"]) if kind else None
    limits = (known.lo, known.hi) if known and known.kind in (TagKind.ANALOGUE, TagKind.DERIVED) else (None, None)
    return TagView(
        id=tag["id"],
        name=known.zh if known and language == "zh" else tag["id"].replace("_", " "),
        unit=tag["unit"],
        decimals=_decimals(tag),
        states=_states(tag, known, language),
        lo=limits[0],
        hi=limits[1],
        period_ms=int(tag["period_ms"]),
        t=sample.get("t"),
        v=sample.get("v"),
        q=sample.get("q"),
    )


def _states(tag: Mapping[str, Any], known: Tag | None, language: Language) -> dict[str, str]:
    if known and known.states:
        return {
            str(value): state.zh if language == "zh" else state.name.replace("_", " ")
            for value, state in known.states.items()
        }
    if tag["kind"] == "bool" or (known and known.kind is TagKind.BOOLEAN):
        return dict(YES_NO) if language == "zh" else {"0": "no", "1": "yes"}
    return {}


def _decimals(tag: Mapping[str, Any]) -> int | None:
    resolution = tag["resolution"]
    if resolution is None:
        return 0 if tag["kind"] in ("int", "uint", "enum") else None
    return len(resolution.partition(".")[2])


def _key_tags(kind: EquipmentType | None, views: Mapping[str, TagView]) -> list[TagView]:
    wanted = KEY_TAGS.get(kind.id, ()) if kind else ()
    return [views[name] for name in wanted if name in views] or list(views.values())[:_KEY]


def _run_state(kind: EquipmentType | None, run: TagView | None) -> str | None:
    if kind is None or run is None or not isinstance(run.v, int | float):
        return None
    state = kind.tag(kind.status.run_state).states.get(int(run.v))
    return state.name if state else None
