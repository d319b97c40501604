"""OPC UA machines over real sockets: every tag, types and units, security, writes, time, subscriptions."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from simulators.opcua_server import OpcUaServer
from simulators.pki import application_identity
from telemetry.points import OpcUaConnection, OpcUaPoint
from tests.plant import TestPlant, eventually, simulated_plant

pytestmark = pytest.mark.asyncio(loop_scope="module")
CNC, COMPRESSOR = "cnc-1", "compressor-1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestPlant]:
    machines = [f"{CNC}:cnc_machine", f"{COMPRESSOR}:air_compressor"]
    async with simulated_plant(tmp_path_factory.mktemp("plant"), machines=machines) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def plant(shared: TestPlant) -> TestPlant:
    await shared.control.clear()
    for uid in (CNC, COMPRESSOR):
        await shared.control.panel(uid, "remote_on")
    return shared


@asynccontextmanager
async def connected(plant: TestPlant, uid: str, *, password: str | None = None) -> AsyncIterator[Client]:
    connection = plant.point_list(uid).connection
    assert isinstance(connection, OpcUaConnection)
    client = Client(connection.endpoint, timeout=4)
    if connection.policy != "None":
        uri = "urn:starproof:test-client"
        mine = await asyncio.to_thread(application_identity, plant.settings.state / "client", "client", uri=uri)
        client.application_uri = uri
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            str(mine.certificate),
            str(mine.private_key),
            server_certificate=str(connection.server_certificate),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
        assert connection.username and connection.password_file
        client.set_user(connection.username)
        client.set_password(password or secret(connection))
    async with client:
        yield client


def secret(connection: OpcUaConnection) -> str:
    """The password of a secured machine."""
    return Path(str(connection.password_file)).read_text(encoding="utf-8")


def nodes(plant: TestPlant, uid: str) -> dict[str, str]:
    return {p.tag: p.node for p in plant.point_list(uid).points if isinstance(p, OpcUaPoint)}


@pytest.mark.parametrize("uid", [CNC, COMPRESSOR])
async def test_every_tag_reads_as_the_machine_shows_it(plant: TestPlant, uid: str) -> None:
    await plant.control.fault(uid, "freeze")
    server = plant.units[uid].server
    assert isinstance(server, OpcUaServer)
    await server.sample_all()
    _, shown = await plant.control.values(uid)
    async with connected(plant, uid) as client:
        for tag, node in nodes(plant, uid).items():
            value = await client.get_node(node).read_data_value()
            assert float(value.Value.Value) == shown[tag], tag
            assert value.StatusCode.is_good() and value.SourceTimestamp.microsecond % 1000 == 0
    assert nodes(plant, uid).keys() == shown.keys()


async def test_types_units_and_state_names(plant: TestPlant) -> None:
    async with connected(plant, COMPRESSOR) as client:
        node = client.get_node("ns=2;s=Compressor.DischargePressure")
        unit = await (await node.get_child("0:EngineeringUnits")).read_value()
        assert unit.DisplayName.Text == "MPa" and unit.UnitId == int.from_bytes(b"MPA", "big")
        scale = await (await node.get_child("0:EURange")).read_value()
        assert (scale.Low, scale.High) == (0.6, 0.76)
        assert (await node.read_display_name()).Text == "排气压力"
        state = client.get_node("ns=2;s=Compressor.RunState")
        names = await (await state.get_child("0:EnumStrings")).read_value()
        assert names[await state.read_value()].Text == "运行"
        kinds = {
            "RunState": ua.VariantType.Int32,
            "Loaded": ua.VariantType.Boolean,
            "LoadEnableSp": ua.VariantType.Boolean,
            "DischargePressure": ua.VariantType.Double,
            "RunHours": ua.VariantType.Double,
        }
        for name, kind in kinds.items():
            value = await client.get_node(f"ns=2;s=Compressor.{name}").read_data_value()
            assert value.Value.VariantType == kind, name


async def test_the_nameplate_says_simulated(plant: TestPlant) -> None:
    for uid, name in ((CNC, "Cnc"), (COMPRESSOR, "Compressor")):
        plate = plant.point_list(uid).nameplate
        async with connected(plant, uid) as client:
            base = f"ns=2;s={name}.Identification"
            assert (await client.get_node(f"{base}.Manufacturer").read_value()).Text == plate["maker"]
            assert "SIMULATED" in plate["maker"] and "仿真" in plate["maker"]
            assert (await client.get_node(f"{base}.Model").read_value()).Text == plate["model"]
            assert await client.get_node(f"{base}.SerialNumber").read_value() == plate["serial"]
            assert "SIMULATED" in (await client.get_namespace_array())[1]


async def test_the_compressor_has_no_unsecured_endpoint(plant: TestPlant) -> None:
    connection = plant.point_list(COMPRESSOR).connection
    assert isinstance(connection, OpcUaConnection)
    client = Client(connection.endpoint, timeout=4)
    endpoints = await client.connect_and_get_server_endpoints()
    assert [(e.SecurityPolicyUri, e.SecurityMode) for e in endpoints] == [
        (SecurityPolicyBasic256Sha256.URI, ua.MessageSecurityMode.SignAndEncrypt)
    ]
    assert all(t.TokenType == ua.UserTokenType.UserName for e in endpoints for t in e.UserIdentityTokens)
    assert all("SIMULATED" in e.Server.ApplicationUri for e in endpoints)
    # The right password over an open channel is no way in either.
    client = Client(connection.endpoint, timeout=4)
    client.set_user(str(connection.username))
    client.set_password(secret(connection))
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        with pytest.raises(ua.UaStatusCodeError):
            await client.create_session()
    finally:
        client.disconnect_socket()


async def test_a_wrong_password_is_refused(plant: TestPlant) -> None:
    with pytest.raises(ua.UaStatusCodeError) as refusal:
        async with connected(plant, COMPRESSOR, password="not it"):
            pass
    assert refusal.value.code == ua.StatusCodes.BadUserAccessDenied
    mode = plant.settings.state / f"{COMPRESSOR}.password"
    assert mode.stat().st_mode & 0o077 == 0


async def code_of(client: Client, node: str, value: Any, kind: ua.VariantType) -> int:
    """Status code of a write."""
    try:
        await client.get_node(node).write_value(ua.DataValue(ua.Variant(value, kind)))
    except ua.UaStatusCodeError as error:
        return error.code
    return 0


async def test_writes_act_and_refusals_are_explicit(plant: TestPlant) -> None:
    double, codes = ua.VariantType.Double, ua.StatusCodes
    async with connected(plant, COMPRESSOR) as client:
        node = "ns=2;s=Compressor.UnloadPressureSp"
        assert await code_of(client, node, 0.71, double) == 0
        assert await client.get_node(node).read_value() == 0.71
        assert (await plant.control.values(COMPRESSOR))[0]["unload_pressure_sp"] == pytest.approx(0.71)
        assert await code_of(client, node, 0.9, double) == codes.BadOutOfRange
        assert await code_of(client, node, float("nan"), double) == codes.BadOutOfRange
        assert await code_of(client, node, 1, ua.VariantType.Int32) == codes.BadTypeMismatch
        assert await code_of(client, "ns=2;s=Compressor.LinePressure", 0.7, double) == codes.BadNotWritable
        assert await code_of(client, "i=2258", 0.7, double) == codes.BadUserAccessDenied
        await plant.control.panel(COMPRESSOR, "remote_off")
        assert await code_of(client, node, 0.72, double) == codes.BadUserAccessDenied
        assert await client.get_node(node).read_value() == 0.71
    async with connected(plant, CNC) as client:
        assert await code_of(client, "ns=2;s=Cnc.FeedPauseSp", True, ua.VariantType.Boolean) == 0

        async def paused() -> bool:
            return await client.get_node("ns=2;s=Cnc.RunState").read_value() == 3

        await eventually(paused, what="the machine pauses")
        assert await code_of(client, "ns=2;s=Cnc.FeedPauseSp", False, ua.VariantType.Boolean) == 0


async def test_the_servers_clock_can_be_read_and_can_be_wrong(plant: TestPlant) -> None:
    async with connected(plant, CNC) as client:

        async def offset() -> float:
            told = await client.get_node("i=2258").read_value()
            status = await client.get_node("i=2256").read_value()
            assert abs((status.CurrentTime - told).total_seconds()) < 1
            return (told - datetime.now(UTC)).total_seconds()

        assert abs(await offset()) < 1
        await plant.control.fault(CNC, "clock_off", seconds=-3600)
        assert await offset() == pytest.approx(-3600, abs=1)

        async def stamped() -> bool:
            value = await client.get_node("ns=2;s=Cnc.SpindleLoad").read_data_value()
            return (value.SourceTimestamp - datetime.now(UTC)).total_seconds() < -3590

        await eventually(stamped, what="source times follow the machine's clock")


class Received:
    def __init__(self) -> None:
        self.rows: list[tuple[str, Any, datetime]] = []

    def datachange_notification(self, node: Any, val: Any, data: Any) -> None:
        value = data.monitored_item.Value
        self.rows.append((node.nodeid.Identifier, val, value.SourceTimestamp))


async def test_a_subscriber_hears_of_changes_at_the_tags_own_period(plant: TestPlant) -> None:
    got = Received()
    async with connected(plant, CNC) as client:
        subscription = await client.create_subscription(100, got)
        await subscription.subscribe_data_change([client.get_node(n) for n in nodes(plant, CNC).values()])
        load = "Cnc.SpindleLoad"
        await eventually(lambda: len([r for r in got.rows if r[0] == load]) >= 4, what="four samples of the load")
        times = [at for name, _, at in got.rows if name == load][1:]  # the first is the value it finds
        gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
        assert all(0.5 < gap < 5 for gap in gaps), gaps  # every second, as the type says; equal values are not sent
        assert {name for name, _, _ in got.rows} == {n.removeprefix("ns=2;s=") for n in nodes(plant, CNC).values()}
        await subscription.delete()
