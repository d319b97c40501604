"""The journal says exactly what clients received, to whom and when."""

import math
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client
from pymodbus.client import AsyncModbusTcpClient

from simulators import journal
from simulators.journal import Journal, read
from simulators.opcua_hooks import source_ms
from telemetry import clock
from telemetry.points import OpcUaConnection, OpcUaPoint
from tests.plant import eventually, simulated_plant


def local(transport: Any) -> str:
    """A client's own end of its connection."""
    host, port = transport.get_extra_info("sockname")[:2]
    return f"{host}:{port}"


async def test_modbus_replies(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["boiler-1:industrial_boiler"]) as plant:
        clients = [AsyncModbusTcpClient("127.0.0.1", port=plant.units["boiler-1"].port, retries=0) for _ in range(2)]
        peers: list[str] = []
        for client in clients:
            assert await client.connect()
            peers.append(local(client.ctx.transport))
        before = clock.now_ms()
        agent, inspector = clients
        replies = [await agent.read_input_registers(8, count=6) for _ in range(5)]
        bits = await inspector.read_discrete_inputs(0, count=3)
        await inspector.read_input_registers(9, count=1)
        await inspector.read_holding_registers(5000)  # refused: not served
        await agent.write_register(121, 1)
        await agent.write_register(121, 7)  # refused
        lines = plant.journal("boiler-1")

        mine = [x for x in lines if x["peer"] == peers[0] and x["how"] == "modbus"]
        assert len(mine) == 5
        names = ("feedwater_temp", "feedwater_pressure", "drum_level", "flue_gas_temp", "flue_o2")
        for line, reply in zip(mine, replies, strict=True):
            assert (line["fc"], line["address"], line["count"]) == (4, 8, 6)
            assert before <= line["t"] <= clock.now_ms()
            # flue_co (32 bits from 13 on) is only half inside, so it was not served
            assert tuple(line["values"]) == names
            signed = [r - 65536 if r > 32767 and n in ("feedwater_temp", "drum_level") else r
                      for r, n in zip(reply.registers, names, strict=False)]  # fmt: skip
            scales = (0.01, 0.0001, 0.01, 0.01, 0.001)
            assert list(line["values"].values()) == pytest.approx([r * s for r, s in zip(signed, scales, strict=False)])
        theirs = [x for x in lines if x["peer"] == peers[1]]
        assert [x["fc"] for x in theirs] == [2, 4] and peers[0] != peers[1]
        assert theirs[0]["values"] == {"feedwater_auto": float(bits.bits[0]), "o2_trim_auto": float(bits.bits[2])}
        assert list(theirs[1]["values"]) == ["feedwater_pressure"]
        written = [x for x in lines if x["how"] == "modbus_write"]
        assert [(x["peer"], x["fc"], x["values"]) for x in written] == [(peers[0], 6, {"run_sp": 1.0})]
        for client in clients:
            client.close()


async def test_what_is_not_a_number_or_not_answered(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["boiler-1:industrial_boiler"]) as plant:
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.units["boiler-1"].port, timeout=0.2, retries=0)
        assert await client.connect()
        await plant.control.fault("boiler-1", "nan")
        await client.read_input_registers(0, count=2)
        assert plant.journal("boiler-1")[-1]["values"] == {"steam_pressure": None}
        await plant.control.fault("boiler-1", "no_reply")
        count = len(plant.journal("boiler-1"))
        with pytest.raises(Exception, match="No response"):
            await client.read_input_registers(0, count=2)
        assert len(plant.journal("boiler-1")) == count
        client.close()


class Received:
    """Every notified value as the journal should have it."""

    def __init__(self, tags: dict[str, str]) -> None:
        self.tags, self.rows = tags, []

    rows: list[list[Any]]

    def datachange_notification(self, node: Any, val: Any, data: Any) -> None:
        value = data.monitored_item.Value
        self.rows.append([self.tags[node.nodeid.to_string()], source_ms(value), val, value.StatusCode.value])


async def test_opcua_reads_and_notifications(tmp_path: Path) -> None:
    async with simulated_plant(tmp_path, machines=["cnc-1:cnc_machine"]) as plant:
        points = plant.point_list("cnc-1")
        assert isinstance(points.connection, OpcUaConnection)
        nodes = {p.node: p.tag for p in points.points if isinstance(p, OpcUaPoint)}
        got = Received(nodes)
        async with Client(points.connection.endpoint) as agent, Client(points.connection.endpoint) as inspector:
            peer = local(agent.uaclient.protocol.transport)
            subscription = await agent.create_subscription(100, got)
            await subscription.subscribe_data_change([agent.get_node(n) for n in nodes])
            rows: list[list[Any]] = []
            for node in list(nodes)[:5]:
                value = await inspector.get_node(node).read_data_value()
                rows.append([nodes[node], source_ms(value), value.Value.Value, value.StatusCode.value])
            await inspector.get_node("i=2258").read_value()
            await inspector.get_node(next(iter(nodes))).read_display_name()
            await eventually(lambda: len(got.rows) > len(nodes) + 20, what="notifications")
            await subscription.delete()
            lines = plant.journal("cnc-1")
            other = local(inspector.uaclient.protocol.transport)
        notified = [row for x in lines if x["how"] == "opcua_notify" for row in x["rows"]]
        assert {x["peer"] for x in lines if x["how"] == "opcua_notify"} == {peer}
        assert notified[: len(got.rows)] == got.rows and len(notified) >= len(got.rows)
        assert [row for x in lines if x["how"] == "opcua_read" for row in x["rows"]] == rows
        assert {x["peer"] for x in lines if x["how"] == "opcua_read"} == {other}


def test_a_torn_line_is_left_out_and_a_long_journal_turns_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 400)
    book = Journal(tmp_path / "x.jsonl")
    for i in range(6):
        book.modbus(peer="a:1", how="modbus", fc=3, address=i, count=1, values={"a": math.nan})
    book.close()
    book.modbus(peer="a:1", how="modbus", fc=3, address=99, count=1, values={})  # after the end: not written
    lines = read(book.path)
    assert [x["address"] for x in lines] == list(range(6)) and lines[0]["values"] == {"a": None}
    with book.path.open("ab") as file:
        file.write(b'{"t": 1, "pe')
    assert len(read(book.path)) == 6
