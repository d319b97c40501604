"""The read side over HTTP, from a frame sealed by an edge to the answer."""

import base64

import pytest

from telemetry import clock, head, proof
from telemetry.entry import decode
from telemetry.keys import verifying_key
from telemetry.topics import Channel
from tests.cloud.conftest import House, ledger_key
from tests.ingest.edge_kit import ENTERPRISE, WALL


async def test_time_is_the_clouds(house: House) -> None:
    before = clock.now_ms()
    told = (await house.get("/time")).json()["now_ms"]
    assert before <= told <= clock.now_ms()


async def test_devices_tell_what_their_edge_declared(house: House) -> None:
    assert (await house.get("/devices")).json()["devices"] == []
    await house.commit(1.25, at_ms=WALL)
    (device,) = (await house.get("/devices")).json()["devices"]
    assert (device["enterprise"], device["uid"], device["type"], device["edge"]) == (
        ENTERPRISE,
        house.device,
        "industrial_boiler",
        "edge-1",
    )
    assert device["dictionary"] == house.edge.words.hash.hex()
    assert device["last_ms"] == WALL
    assert device["simulated"] is False
    assert [(t["id"], t["kind"], t["resolution"]) for t in device["tags"]] == [
        ("p", "float", "0.01"),
        ("n", "int", None),
    ]


async def test_a_device_tells_its_gateways(house: House) -> None:
    await house.commit(1.25, at_ms=WALL)
    told = (await house.get(f"/devices/{house.device}")).json()["device"]
    (gateway,) = told["gateways"]
    assert (gateway["edge"], gateway["to_ms"]) == ("edge-1", None)
    assert told["first_ms"] == gateway["from_ms"] <= clock.now_ms()
    assert (told["uid"], told["last_ms"]) == (house.device, WALL)


async def test_latest_and_history(house: House) -> None:
    await house.commit(1.25, 1.5, 1.75, at_ms=WALL)
    latest = (await house.get(f"/devices/{house.device}/latest")).json()
    assert latest["values"] == {"p": {"t": WALL + 2000, "v": 1.75, "q": 0}}
    assert latest["simulated"] is False
    path = f"/devices/{house.device}/history"
    whole = (await house.get(path, tag="p", **{"from": WALL, "to": WALL + 2001})).json()
    assert (whole["rows"], whole["more"]) == ([[WALL, 1.25, 0], [WALL + 1000, 1.5, 0], [WALL + 2000, 1.75, 0]], False)
    part = (await house.get(path, tag="p", limit=2, **{"from": WALL, "to": WALL + 2001})).json()
    assert (len(part["rows"]), part["more"]) == (2, True)
    until = (await house.get(path, tag="p", **{"from": WALL + 1, "to": WALL + 2000})).json()
    assert until["rows"] == [[WALL + 1000, 1.5, 0]]
    empty = (await house.get(path, tag="n", **{"from": WALL, "to": WALL + 1})).json()
    assert empty["rows"] == []


async def test_aggregate(house: House) -> None:
    await house.commit(1.0, 2.0, 6.0, at_ms=WALL)
    path = f"/devices/{house.device}/aggregate"
    told = (await house.get(path, tag="p", buckets=2, **{"from": WALL, "to": WALL + 4000})).json()
    assert told["start"] == [WALL, WALL + 2000]
    assert (told["count"], told["mean"], told["min"], told["max"]) == ([2, 1], [1.5, 6.0], [1.0, 6.0], [2.0, 6.0])
    nothing = (await house.get(path, tag="p", buckets=1, **{"from": 0, "to": 10})).json()
    assert (nothing["count"], nothing["mean"]) == ([0], [None])


async def test_coverage(house: House) -> None:
    await house.commit(1.0, 2.0, at_ms=WALL)
    told = (await house.get(f"/devices/{house.device}/coverage", **{"from": WALL, "to": WALL + 9000})).json()
    assert told["tags"] == {"p": {"count": 2, "first": WALL, "last": WALL + 1000}}
    assert told["gaps"] == []
    assert told["queryable_to_ms"] == 0  # no follower ran here


async def test_edges(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    (edge,) = (await house.get("/edges")).json()["edges"]
    assert edge["edge"] == "edge-1"
    assert edge["public_key"] == base64.b64encode(house.edge.signer.public).decode()
    assert edge["topic"] == house.edge.address.topic(Channel.UP)
    assert edge["shard"] == house.edge.address.shard
    (stream,) = edge["streams"]
    assert (stream["contiguous"], stream["highest"], stream["missing"]) == (2, 2, [])
    assert edge["forks"] == []


async def test_a_proof_leads_from_the_item_to_the_signed_head(house: House) -> None:
    await house.commit(1.0, 2.0, 3.0, at_ms=WALL)
    key = verifying_key(ledger_key(house.cloud).public)
    stream = house.edge.outbox.position().stream.hex()
    sent = house.edge.messages()
    for sequence, message in enumerate(sent):
        told = (await house.get("/ledger/proof", edge="edge-1", stream=stream, sequence=sequence)).json()
        entry, root = base64.b64decode(told["entry"]), base64.b64decode(told["root"])
        assert (decode(entry).topic, decode(entry).sealed) == (message.topic, message.payload)
        signed = head.verify(base64.b64decode(told["head"]), key)
        assert [told["shard"], told["size"], root.hex()] in told["shards"]
        assert (told["shard"], told["size"], root) in signed.shards
        path = [base64.b64decode(step) for step in told["path"]]
        assert proof.verify_inclusion(proof.leaf_hash(entry), told["leaf"], told["size"], path, root)


async def test_a_later_head_continues_an_earlier(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    before = (await house.get("/ledger/head")).json()
    await house.commit(2.0, 3.0, at_ms=WALL + 5000)
    after = (await house.get("/ledger/head")).json()
    key = verifying_key(ledger_key(house.cloud).public)
    one, two = (head.verify(base64.b64decode(told["head"]), key) for told in (before, after))
    assert two.prev == head.digest(base64.b64decode(before["head"]))
    ((shard, old, old_root),) = one.shards
    ((_, new, new_root),) = two.shards
    told = (await house.get("/ledger/consistency", shard=shard, old=old, new=new)).json()
    path = [base64.b64decode(step) for step in told["path"]]
    assert proof.verify_consistency(old, new, old_root, new_root, path)


async def test_what_no_head_covers_yet_is_said_so(house: House) -> None:
    stream = house.edge.outbox.position().stream.hex()
    asked = {"edge": "edge-1", "stream": stream, "sequence": 0}
    assert (await house.get("/ledger/head")).json()["error"]["code"] == "no_head"
    assert (await house.get("/ledger/proof", **asked)).json()["error"]["code"] == "not_committed"
    await house.commit(1.0, at_ms=WALL)
    house.edge.sample(9.0)
    house.cloud.send(*house.edge.messages())
    late = await house.get("/ledger/proof", **{**asked, "sequence": 3})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "not_yet_covered")


BAD = [
    ("/devices/{device}/history", {}, 400, "invalid_parameter", "tag"),
    ("/devices/{device}/history", {"tag": "p", "from": "yesterday", "to": 5}, 400, "invalid_parameter", "from"),
    ("/devices/{device}/history", {"tag": "p", "from": 5, "to": 5}, 400, "invalid_parameter", "from"),
    ("/devices/{device}/history", {"tag": "p", "from": 0, "to": 1 << 70}, 400, "invalid_parameter", "to"),
    ("/devices/{device}/history", {"tag": "p", "from": 0, "to": 5, "limit": 0}, 400, "invalid_parameter", "limit"),
    (
        "/devices/{device}/history",
        {"tag": "p", "from": 0, "to": 5, "limit": 100_001},
        400,
        "invalid_parameter",
        "limit",
    ),
    ("/devices/{device}/history", {"tag": "q", "from": 0, "to": 5}, 404, "unknown_tag", "q"),
    (
        "/devices/{device}/aggregate",
        {"tag": "p", "from": 0, "to": 5, "buckets": 0},
        400,
        "invalid_parameter",
        "buckets",
    ),
    ("/devices/nobody/latest", {}, 404, "unknown_device", "nobody"),
    ("/devices/nobody", {}, 404, "unknown_device", "nobody"),
    ("/devices/{device}/coverage", {"from": 1}, 400, "invalid_parameter", "to"),
    ("/ledger/proof", {"edge": "e", "stream": "xyz", "sequence": 1}, 400, "invalid_parameter", "stream"),
    ("/ledger/proof", {"edge": "e", "stream": "0" * 32, "sequence": -1}, 400, "invalid_parameter", "sequence"),
    ("/ledger/proof", {"edge": "../x", "stream": "0" * 32, "sequence": 1}, 404, "not_committed", ""),
    ("/ledger/consistency", {"shard": 64, "old": 0, "new": 0}, 400, "invalid_parameter", "shard"),
    ("/ledger/consistency", {"shard": 1, "old": 0, "new": 5}, 404, "not_in_ledger", ""),
    ("/ledger/consistency", {"shard": 1, "old": 1, "new": 0}, 400, "invalid_parameter", "old"),
    ("/nothing", {}, 404, "not_found", ""),
]


@pytest.mark.parametrize(("path", "params", "status", "code", "names"), BAD)
async def test_wrong_questions_get_clear_answers(
    house: House, path: str, params: dict[str, object], status: int, code: str, names: str
) -> None:
    await house.commit(1.0, at_ms=WALL)
    answer = await house.get(path.format(device=house.device), **params)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert names in error["en"] and names in error["zh"]


async def test_a_ledger_or_historian_that_is_away_is_503(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    (house.folder / "historian.db").write_bytes(b"no longer a database" * 500)
    (house.folder / "historian.db-wal").unlink(missing_ok=True)
    answer = await house.get(f"/devices/{house.device}/latest")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "historian_unavailable")
