"""The files of a demo plant: configuration of every service, keys, enrolment, and what the inspector is given.

Nothing here is a short cut: the edge is enrolled with a request, a one-time code and a grant, as at a plant.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cloud import people
from cloud.alarms import channels
from cloud.cli import add_token
from cloud.schema import open_database
from edge_agent import enrol
from edge_agent import settings as edge_settings
from ingest import register
from ingest.tables import connect
from simulators.catalogue import make_machine
from simulators.maps import point_list
from simulators.plant import password
from simulators.settings import MachineSettings
from starproof.demo.layout import EDGE, ENTERPRISE, Layout
from telemetry import clock, enrolment, keys
from telemetry.messages import Certificate
from telemetry.points import Machine
from verifier.plan import sign_points

SOLAR_TIME = "11:00"
CHANNEL = "演示手机（webhook）"
ADMINISTRATOR, VIEWER = "admin", "visitor"
_HOURS = 8  # for which the inspector's token and certificate are good


@dataclass(frozen=True)
class Choices:
    """What may be chosen of a demo. `historian` as in ingest.yaml and web.yaml; `profile` of the agent's frames;
    `period_ms` acquires every tag that often; `deadband` as the agent's pipeline has it."""

    historian: dict[str, Any] | None = None
    profile: str = "live"
    period_ms: int | None = None
    deadband: bool = True
    seed: int = 1


def machine_settings(layout: Layout, choices: Choices) -> list[MachineSettings]:
    """The simulated machines."""
    return [
        MachineSettings(uid=uid, type=kind, name=name, port=layout.ports[uid], seed=choices.seed + number)  # type: ignore[arg-type]
        for number, (uid, kind, name) in enumerate(layout.machines)
    ]


def points_of(machine: MachineSettings, state: Path, port: int | None = None) -> Machine:
    """The true list of points of a simulated machine, as its vendor would hand it over."""
    secured: dict[str, Any] = {}
    probe = point_list(machine.type, uid=machine.uid, port=1)
    if probe.connection.protocol == "opcua" and probe.connection.policy != "None":
        password(state, machine.uid)
        secured = {
            "username": machine.username,
            "password_file": str(state / f"{machine.uid}.password"),
            "server_certificate": str(state / "pki" / f"{machine.uid}.der"),
        }
    plate = make_machine(machine.type, machine.uid, machine.seed).nameplate
    return point_list(
        machine.type, uid=machine.uid, port=port or machine.port, name=machine.name, nameplate=dict(plate), **secured
    )


def write(layout: Layout, choices: Choices) -> str | None:
    """Write every file that is not there yet; configuration is written anew (ports change), keys and state stay. Gives the
    web app's first password where it has just been made."""
    for folder in (layout.config, layout.state, layout.logs, layout.verification):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # all that the demo stores lies below these: values, keys, evidence
    _dump(layout.file("broker.yaml"), {"port": layout.ports["broker"]})
    machines = machine_settings(layout, choices)
    plant_state = layout.state / "plant"
    plant_state.mkdir(exist_ok=True)
    _dump(
        layout.file("plant.yaml"),
        {
            "state": str(plant_state),
            "control_port": layout.ports["control"],
            "solar_time": SOLAR_TIME,
            "machines": [m.model_dump(exclude_defaults=True) | {"port": m.port} for m in machines],
        },
    )
    points = [points_of(machine, plant_state) for machine in machines]
    _write_cloud(layout, choices)
    first_password = _write_people(layout)
    _write_edge(layout, choices, points)
    _enrol(layout)
    _write_inspection(layout, points)
    return first_password


def historian_of(layout: Layout, choices: Choices) -> dict[str, Any]:
    """The historian's settings."""
    return choices.historian or {"kind": "sqlite", "path": str(layout.state / "cloud" / "historian.db")}


def database_of(layout: Layout) -> str:
    """The one database that ingest and web name."""
    return f"sqlite:///{layout.state / 'cloud' / 'ingest.db'}"


def _write_cloud(layout: Layout, choices: Choices) -> None:
    cloud = layout.state / "cloud"
    cloud.mkdir(exist_ok=True)
    register.ensure_keys(cloud / "keys")
    common = {
        "ledger": str(cloud / "ledger"),
        "database": database_of(layout),
        "historian": historian_of(layout, choices),
        "broker": {"port": layout.ports["broker"]},
    }
    _dump(layout.file("ingest.yaml"), common | {"keys": str(cloud / "keys")})
    _dump(
        layout.file("web.yaml"),
        common
        | {
            "listen": {"port": layout.ports["web"]},
            "live_key": str(cloud / "keys" / "live.key"),
            "exchange_key": str(cloud / "keys" / "exchange.pem"),
            "grant_keys": _public_keys(cloud / "keys"),
            "verifications": str(layout.verification),
        },
    )


def _write_people(layout: Layout) -> str | None:
    """Users of the web app: an administrator, and a viewer whose password is the inspector's to have; and the channel that
    notices go by. Gives the administrator's first password, which is kept nowhere, where there was no administrator yet."""
    password_file = layout.state / "inspector" / "viewer.password"
    database = open_database(database_of(layout))
    try:
        with database.begin() as db:
            for one in channels.listed(db, ENTERPRISE):  # its port is another each time
                if one.name == CHANNEL:
                    channels.remove(db, ENTERPRISE, one.id, now_ms=clock.now_ms())
            url = f"json://127.0.0.1:{layout.ports['webhook']}/"
            channels.create(db, ENTERPRISE, name=CHANNEL, url=url, owner="demo", until_ms=None)
            if any(user["name"] == ADMINISTRATOR for user in people.users(db, ENTERPRISE)):
                return None
            first, viewers = secrets.token_urlsafe(9), secrets.token_urlsafe(12)
            made_by = {"enterprise": ENTERPRISE}
            people.create_user(db, "demo", name=ADMINISTRATOR, password=first, role="administrator", **made_by)
            people.create_user(db, "demo", name=VIEWER, password=viewers, role="viewer", **made_by)
            _secret(password_file, viewers + "\n")
            return first
    finally:
        database.dispose()


def _public_keys(folder: Path) -> dict[str, str]:
    """What an edge that is approved pins."""
    return {
        "receipt": keys.to_text(keys.load_signing_key(folder / "receipt.pem").public),
        "command": keys.to_text(keys.load_signing_key(folder / "command.pem").public),
        "exchange": keys.to_text(keys.exchange_public(keys.load_exchange_key(folder / "exchange.pem"))),
    }


def _write_edge(layout: Layout, choices: Choices, points: list[Machine]) -> None:
    edge = layout.state / "edge"
    devices = [_device(machine, edge, choices) for machine in points]
    _dump(
        layout.file("edge.yaml"),
        {
            "enterprise": ENTERPRISE,
            "edge": EDGE,
            "state_dir": str(edge),
            "keys": str(edge / "keys"),
            "cloud_keys": str(edge / "cloud-keys.json"),
            "broker": {"port": layout.ports["broker"]},
            "frame": {"profile": choices.profile},
            "pipeline": {"deadband": choices.deadband},
            "devices": devices,
        },
    )


def _device(machine: Machine, edge: Path, choices: Choices) -> dict[str, Any]:
    """A machine as the agent is told of it: without the nameplate, which it reads itself."""
    device = machine.model_dump(exclude_defaults=True)
    device.pop("nameplate", None)
    device["connection"] = machine.connection.model_dump(exclude_defaults=True) | {
        "protocol": machine.connection.protocol
    }
    if machine.connection.protocol == "opcua" and machine.connection.policy != "None":
        device["connection"] |= {
            "certificate": str(edge / "pki" / "edge.der"),
            "private_key": str(edge / "pki" / "edge.key.pem"),
        }
    if choices.period_ms is not None:
        device["period_ms"] = choices.period_ms
    return device


def _enrol(layout: Layout) -> None:
    edge = edge_settings.load(layout.file("edge.yaml"))
    if edge.cloud_keys.exists():
        return
    cloud = layout.state / "cloud"
    request, code, _ = enrol.make_request(edge)
    register.approve(connect(database_of(layout)), request, code)
    given = {name: keys.from_text(key) for name, key in _public_keys(cloud / "keys").items()}
    grant = register.grant(request, code, **given)
    grant_file = layout.state / "enrolment-grant.json"
    enrolment.write(grant, grant_file)
    enrol.pin(edge, grant_file, code)


def _write_inspection(layout: Layout, points: list[Machine]) -> None:
    """What the inspector gets from the plant: the signed list of points, a token, a certificate; and the plan."""
    inspector, cloud, plant = layout.state / "inspector", layout.state / "cloud", layout.state / "plant"
    listed = {"enterprise": ENTERPRISE, "machines": [_listed(m) for m in points]}
    _dump(inspector / "points.yaml", listed)
    enterprise = _key(layout.state / "enterprise.pem")
    (inspector / "points.yaml.sig").write_bytes(sign_points((inspector / "points.yaml").read_bytes(), enterprise))
    token = add_token(database_of(layout), name="inspector", enterprise=ENTERPRISE, role="inspector", hours=_HOURS)
    _secret(inspector / "token", token + "\n")
    key = _key(inspector / "inspector.pem")
    now = clock.now_ms()
    certificate = Certificate(
        public=key.public,
        name="演示检查员",
        enterprise=ENTERPRISE,
        not_before_ms=now - 60_000,
        not_after_ms=now + _HOURS * 3_600_000,
    )
    command = keys.load_signing_key(cloud / "keys" / "command.pem")
    (inspector / "inspector.cert").write_bytes(certificate.sign(command, Certificate.TOPIC))
    edge = keys.load_signing_key(layout.state / "edge" / "keys" / enrol.KEY_FILE)
    ledger = keys.load_signing_key(cloud / "keys" / "ledger.pem")
    _dump(
        layout.file("plan.yaml"),
        {
            "enterprise": ENTERPRISE,
            "cloud": {
                "url": f"http://127.0.0.1:{layout.ports['web']}",
                "token_file": str(inspector / "token"),
                "head_key": keys.to_text(ledger.public),
            },
            "page": {
                "url": f"http://127.0.0.1:{layout.ports['web']}",
                "username": VIEWER,
                "password_file": str(inspector / "viewer.password"),
            },
            "notices": {
                "listen": f"127.0.0.1:{layout.ports['notices']}",
                "url": f"json://127.0.0.1:{layout.ports['notices']}",
            },
            "broker": {"port": layout.ports["broker"]},
            "inspector": {
                "key_file": str(inspector / "inspector.pem"),
                "certificate_file": str(inspector / "inspector.cert"),
            },
            "points": {
                "file": str(inspector / "points.yaml"),
                "signature_file": str(inspector / "points.yaml.sig"),
                "public_key": keys.to_text(enterprise.public),
            },
            "edges": [{"edge": EDGE, "public_key": keys.to_text(edge.public)}],
            "opcua": {
                "certificate": str(inspector / "pki" / "inspector.der"),
                "private_key": str(inspector / "pki" / "inspector.key.pem"),
                "username": "starproof",
                "password_file": str(plant / "compressor-1.password"),
            },
        },
    )


def _listed(machine: Machine) -> dict[str, Any]:
    return machine.model_dump(exclude_defaults=True) | {
        "simulated": True,
        "connection": machine.connection.model_dump(exclude_defaults=True) | {"protocol": machine.connection.protocol},
    }


def _key(path: Path) -> keys.SigningKey:
    return keys.load_signing_key(path) if path.exists() else keys.create_signing_key(path)


def _dump(path: Path, data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=120, default_flow_style=None)
    _secret(path, "# 仿真数据 / SIMULATED: written by `starproof demo`.\n" + text)


def _secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
