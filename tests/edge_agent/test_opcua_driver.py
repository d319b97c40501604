"""The OPC UA driver against a real asyncua server on a real socket."""

# pyright: reportPrivateImportUsage=false, reportArgumentType=false
import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge_agent.drivers.base import LinkState
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.rules import Rules
from telemetry.clock import now_ms
from telemetry.samples import Quality, Reason, quality
from tests.edge_agent.harness import Edge, free_port, lost, until

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NODES = {
    "discharge_pressure": ua.VariantType.Double,
    "discharge_temp": ua.VariantType.Double,
    "run_state": ua.VariantType.Int32,
    "remote_mode": ua.VariantType.Boolean,
    "run_hours": ua.VariantType.UInt64,
}


class Users(UserManager):
    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        return User(role=UserRole.User) if (username, password) == ("agent", "right") else None


class Machine:
    def __init__(self, server: Server, nodes: dict[str, Any]) -> None:
        self.server, self.nodes = server, nodes

    async def set(self, tag: str, value: Any, *, at_ms: int | None = None, status: int = 0) -> int:
        """Write a value with a source time; gives that time."""
        time = now_ms() if at_ms is None else at_ms
        await self.nodes[tag].write_value(
            ua.DataValue(
                ua.Variant(value, NODES[tag]),
                StatusCode=ua.StatusCode(status),
                SourceTimestamp=EPOCH + timedelta(milliseconds=time),
            )
        )
        return time


@contextlib.asynccontextmanager
async def machine(port: int, *, secure: Path | None = None) -> AsyncGenerator[Machine]:
    server = Server(user_manager=Users() if secure else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    await server.set_application_uri("urn:SIMULATED:compressor")
    if secure:
        await server.load_certificate(str(secure / "server.der"))
        await server.load_private_key(str(secure / "server.pem"))
        server.set_security_policy(
            [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt], permission_ruleset=SimpleRoleRuleset()
        )
    else:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    ns = await server.register_namespace("urn:test")
    thing = await server.nodes.objects.add_object(ua.NodeId("C", ns), "C")
    nodes = {tag: await thing.add_variable(ua.NodeId(f"C.{tag}", ns), tag, 0, kind) for tag, kind in NODES.items()}
    plate = await thing.add_object(ua.NodeId("C.Identification", ns), ua.QualifiedName("Identification", ns))
    await plate.add_property(ua.NodeId("C.SN", ns), ua.QualifiedName("SerialNumber", ns), "S-1")
    await plate.add_property(ua.NodeId("C.M", ns), ua.QualifiedName("Manufacturer", ns), ua.LocalizedText("ACME"))
    async with server:
        yield Machine(server, nodes)


def device(port: int, *, uid: str = "c", period_ms: int = 50, **connection: Any) -> dict[str, Any]:
    points: list[dict[str, Any]] = [{"tag": tag, "node": f"ns=2;s=C.{tag}"} for tag in NODES]
    points[-1]["kind"] = "uint"
    return {
        "uid": uid,
        "type": "air_compressor",
        "connection": {
            "protocol": "opcua",
            "endpoint": f"opc.tcp://127.0.0.1:{port}/",
            "publishing_ms": 50,
            "timeout_s": 2,
            **connection,
        },
        "period_ms": period_ms,
        "points": points,
    }


def states(edge: Edge, uid: str = "c") -> list[LinkState]:
    return [state for state, _ in itertools.groupby(state for who, state in edge.links if who == uid)]


def both(port: int) -> list[dict[str, Any]]:
    return [device(port, uid="subscribe"), device(port, uid="poll", method="poll")]


async def test_values_come_with_source_times_and_status_codes() -> None:
    port = free_port()
    async with machine(port) as server, Edge(*both(port)) as edge:
        for uid in ("subscribe", "poll"):
            await until(lambda uid=uid: edge.last(uid, "run_hours") is not None)
        big = (1 << 63) + 7
        time = await server.set("discharge_pressure", 0.75, at_ms=now_ms() - 1234)
        await server.set("run_state", 3)
        await server.set("remote_mode", True)
        await server.set("run_hours", big)
        await server.set("discharge_temp", 80.0, status=0x40000000)
        uncertain = quality(Quality.UNCERTAIN, Reason.DEVICE_UNCERTAIN)
        for uid in ("subscribe", "poll"):
            await until(lambda uid=uid: edge.last(uid, "discharge_temp") == (80.0, uncertain))
            assert edge.last(uid, "discharge_pressure") == (0.75, 0)
            assert edge.last(uid, "run_state") == (3, 0)
            assert edge.last(uid, "remote_mode") == (True, 0)
            assert edge.last(uid, "run_hours") == (big, 0)
            number = edge.dictionary.number(uid, "discharge_pressure")
            assert any(time in batch.time[batch.tag == number].tolist() for batch in edge.batches)
            assert edge.nameplates[uid] == {
                "application_uri": "urn:SIMULATED:compressor",
                "maker": "ACME",
                "serial": "S-1",
            }
        await server.set("discharge_temp", 81.0, status=0x80000000)
        for uid in ("subscribe", "poll"):
            await until(lambda uid=uid: edge.rows(uid, "discharge_temp")[-1][1] & 0xC000 == Quality.BAD)
            assert states(edge, uid) == [LinkState.CONNECTED]


async def test_polled_values_that_the_source_does_not_renew_are_sent_once_and_an_unknown_node_spoils_no_other() -> None:
    port = free_port()
    polled = device(port, method="poll")
    polled["points"][0]["node"] = "ns=2;s=Nowhere"
    async with machine(port), Edge(polled) as edge:
        n = len(edge.dictionary.tags)
        await until(lambda: len(edge.rows("c", "run_state")) > 5)
        pipe = Pipeline(Rules(np.full(n, True), np.full(n, -np.inf), np.full(n, np.inf), np.zeros(n)))
        assert sum(len(pipe(batch)) for batch in edge.batches) == n
        assert edge.last("c", "discharge_pressure") == lost(Reason.NOT_AVAILABLE)


async def test_a_restart_of_the_server_is_survived() -> None:
    port = free_port()
    uids = ("subscribe", "poll")

    async def all_have(*rows: tuple[Any, int]) -> None:
        await until(lambda: all(edge.last(uid, "run_state") in rows for uid in uids), seconds=12)

    async with Edge(*both(port)) as edge:
        await all_have(lost(Reason.NOT_CONNECTED))
        async with machine(port) as server:
            await server.set("run_state", 1)
            await all_have((1, 0))
        await all_have(lost(Reason.NO_REPLY), lost(Reason.NOT_CONNECTED))
        async with machine(port) as server:
            await server.set("run_state", 2)
            await all_have((2, 0))
            await server.set("run_state", 3)
            await all_have((3, 0))
            for uid in uids:
                assert states(edge, uid) == [
                    LinkState.CANNOT_REACH,
                    LinkState.CONNECTED,
                    LinkState.CANNOT_REACH,
                    LinkState.CONNECTED,
                ]


async def test_a_new_sample_of_an_unchanged_value_is_news_and_an_unknown_node_spoils_no_other() -> None:
    port = free_port()
    subscribed = device(port)
    subscribed["points"][0]["node"] = "ns=2;s=Nowhere"
    async with machine(port) as server, Edge(subscribed) as edge:
        await until(lambda: edge.last("c", "run_state") == (0, 0))
        await until(lambda: edge.last("c", "discharge_pressure") == lost(Reason.NOT_AVAILABLE))
        times = [await server.set("discharge_temp", 70.0, at_ms=now_ms() + i) for i in range(2)]
        number = edge.dictionary.number("c", "discharge_temp")
        await until(lambda: set(times) <= {int(t) for b in edge.batches for t in b.time[b.tag == number]})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pki")

    async def make() -> None:
        for name in ("server", "other"):
            await setup_self_signed_certificate(
                folder / f"{name}.pem",
                folder / f"{name}.der",
                "urn:SIMULATED:compressor",
                "127.0.0.1",
                [ExtendedKeyUsageOID.SERVER_AUTH],
                {"organizationName": name},
            )
        (folder / "right").write_text("right\n", encoding="utf-8")
        (folder / "wrong").write_text("wrong\n", encoding="utf-8")

    asyncio.run(make())
    yield folder


def secured(port: int, folder: Path, own: Path, *, pinned: str = "server", password: str = "right") -> dict[str, Any]:
    return device(
        port,
        policy="Basic256Sha256",
        mode="SignAndEncrypt",
        certificate=str(own / "agent.der"),
        private_key=str(own / "agent.pem"),
        server_certificate=str(folder / f"{pinned}.der"),
        username="agent",
        password_file=str(folder / password),
    )


async def test_an_encrypted_connection_with_a_certificate_made_on_the_way(certificates: Path, tmp_path: Path) -> None:
    port = free_port()
    async with machine(port, secure=certificates) as server, Edge(secured(port, certificates, tmp_path)) as edge:
        await until(lambda: edge.last("c", "run_state") == (0, 0))
        await server.set("run_state", 5)
        await until(lambda: edge.last("c", "run_state") == (5, 0))
        made = (tmp_path / "agent.der").read_bytes()
        async with Edge(secured(port, certificates, tmp_path)) as again:
            await until(lambda: again.last("c", "run_state") == (5, 0))
        assert (tmp_path / "agent.der").read_bytes() == made
    assert (tmp_path / "agent.pem").stat().st_mode & 0o077 == 0


async def test_who_is_not_trusted_is_refused_and_nothing_falls_back(certificates: Path, tmp_path: Path) -> None:
    port = free_port()
    wrong = {
        "certificate": secured(port, certificates, tmp_path, pinned="other"),
        "password": secured(port, certificates, tmp_path, password="wrong"),
        "policy": secured(port, certificates, tmp_path),
    }
    wrong["policy"]["connection"]["policy"] = "Aes256Sha256RsaPss"
    async with machine(port, secure=certificates):
        for fault, config in wrong.items():
            async with Edge(config) as edge:
                await until(lambda edge=edge: len(edge.links) > 0)
                assert edge.links[0][1] is LinkState.CANNOT_AUTHENTICATE, fault
                await asyncio.sleep(0.6)  # long enough for a second attempt
                assert [value for value, _ in edge.rows("c", "run_state")] == [None], fault
                assert states(edge) == [LinkState.CANNOT_AUTHENTICATE], fault
