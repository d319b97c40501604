"""Windows at ingest: committed and opened like any item, and no reader of values takes their rows for news."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from edge_agent import windows
from edge_agent.outbox import Draft
from edge_agent.ring import Ring
from ingest import tables
from ingest.historian.sqlite import SqliteHistorian
from ingest.historian_writer import HistorianWriter
from telemetry import dictionary, samples
from telemetry.dictionary import DeviceSpec, Dictionary
from telemetry.samples import Kind
from telemetry.seal import ItemKind
from telemetry.windows import WindowRequest
from tests.ingest.edge_kit import ENTERPRISE, WALL, Cloud, Edge


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "cloud")


@pytest.fixture
def edge(tmp_path: Path, cloud: Cloud) -> Edge:
    made = Edge(tmp_path, cloud)
    cloud.enrol(made)
    return made


def answer(edge: Edge) -> list[Draft]:
    ring, uid = Ring(edge.words), edge.words.devices[0].uid
    ring.add(samples.from_rows([(0, WALL + n, n / 100, 0, Kind.FLOAT) for n in range(50)]))
    asked = WindowRequest(id=b"w" * 16, device=uid, from_ms=WALL + 10, to_ms=WALL + 19, sent_ms=WALL)
    return windows.answer(asked, ring, edge.words)


def test_it_is_committed_and_opened(cloud: Cloud, edge: Edge) -> None:
    edge.put(*answer(edge))
    outcome = cloud.send(*edge.messages())
    assert not outcome.refused and len(outcome.committed) == 3
    opened = outcome.committed[2].opened
    assert opened is not None and opened.window is not None and opened.frame is None
    window = opened.window
    assert (window.id, window.part, window.parts) == (b"w" * 16, 0, 1)
    assert window.samples.time.tolist() == list(range(WALL + 10, WALL + 20))
    assert window.samples.numeric.tolist() == [n / 100 for n in range(10, 20)]
    cloud.restart()
    leaf = outcome.committed[2].leaf
    [again] = cloud.committer.committed_from(edge.address.shard, leaf, 1)
    assert again.opened is not None and again.opened.window is not None
    assert again.opened.window.samples.numeric.tolist() == window.samples.numeric.tolist()


def test_a_window_in_an_older_dictionary_does_not_make_it_the_newest(cloud: Cloud, edge: Edge) -> None:
    late = answer(edge)
    newer = Dictionary(
        edge.words.enterprise,
        edge.words.edge,
        (DeviceSpec(**{**vars_of(edge.words.devices[0]), "nameplate": {"serial": "7"}}),),
    )
    edge.put(Draft(ItemKind.DICTIONARY, newer.encode(), newer.hash, (WALL, WALL)), *late)
    cloud.send(*edge.messages())
    with cloud.engine.connect() as db:
        table = tables.dictionaries
        order = (
            db.execute(select(table.c.hash).order_by(table.c.arrival_ms.desc(), table.c.order.desc())).scalars().all()
        )
    assert order == [newer.hash, edge.words.hash]


def vars_of(device: DeviceSpec) -> dict[str, Any]:
    return {name: getattr(device, name) for name in ("uid", "type", "name", "simulated", "tags")}


async def test_the_historian_takes_no_notice(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    edge.put(*answer(edge))
    edge.sample(7.0, WALL + 60)
    outcome = cloud.send(*edge.messages())
    historian = SqliteHistorian(tmp_path / "historian.db")
    assert await HistorianWriter(historian).take(outcome.committed) == []
    uid = edge.words.devices[0].uid
    found = await historian.range(ENTERPRISE, uid, "p", 0, WALL + 1000, 100)
    assert list(zip(found.time.tolist(), found.numeric.tolist(), strict=True)) == [(WALL + 60, 7.0)]
    await historian.close()


def test_before_its_dictionary_it_waits(cloud: Cloud, edge: Edge) -> None:
    edge.put(*answer(edge))
    opening, words, window = edge.messages()
    early = cloud.send(opening, window)
    assert early.committed[1].opened is None and not early.refused
    cloud.send(words)
    [found] = cloud.committer.committed_from(edge.address.shard, early.committed[1].leaf, 1)
    assert found.opened is not None and found.opened.window is not None


@pytest.mark.parametrize("plaintext", [b"", b"\xa0", bytes(range(80))])
def test_what_is_no_window_is_refused(cloud: Cloud, edge: Edge, plaintext: bytes) -> None:
    cloud.send(*edge.messages())
    edge.put(Draft(ItemKind.WINDOW, plaintext, edge.words.hash, (WALL, WALL)))
    outcome = cloud.send(edge.messages()[-1])
    assert outcome.committed == [] and [reason for _, reason in outcome.refused] == ["bad_window"]


def test_a_window_of_another_edges_dictionary_is_refused(cloud: Cloud, edge: Edge, tmp_path: Path) -> None:
    other = Edge(tmp_path, cloud, name="edge-2")
    cloud.enrol(other)
    cloud.send(*other.messages(), *edge.messages())
    [draft] = answer(edge)
    digest = dictionary.digest(other.words.encode())
    edge.put(Draft(ItemKind.WINDOW, draft.plaintext, digest, draft.span))
    outcome = cloud.send(edge.messages()[-1])
    assert [reason for _, reason in outcome.refused] == ["bad_dictionary"]
