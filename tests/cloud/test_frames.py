"""The sealed frames over HTTP, opened with the keys that an inspector is given."""

import base64

import pytest

from telemetry import dictionary, frame, seal
from telemetry.keys import verifying_key
from telemetry.seal import SealError
from telemetry.topics import Channel
from tests.cloud.conftest import House
from tests.ingest.edge_kit import ENTERPRISE, WALL

ALL = {"edge": "edge-1", "from": 0, "to": WALL * 2}


async def test_frames_are_the_edges_own_bytes_and_open_with_their_keys_alone(house: House) -> None:
    await house.commit(1.25, 1.5, at_ms=WALL)
    told = (await house.get("/frames", "inspector", kinds="data", keys="true", **ALL)).json()
    public = verifying_key(house.edge.signer.public)
    words = {bytes.fromhex(h): dictionary.decode(base64.b64decode(b)) for h, b in told["dictionaries"].items()}
    values = []
    items = [
        seal.check(base64.b64decode(one["sealed"]), key=public, topic=house.edge.address.topic(Channel.UP))
        for one in told["items"]
    ]
    for one, item in zip(told["items"], items, strict=True):
        assert (one["stream"], one["sequence"]) == (item.header.stream.hex(), item.header.sequence)
        assert (one["hash"], one["dictionary"]) == (item.hash.hex(), item.header.dictionary.hex())
        assert (one["kind"], [one["first_ms"], one["last_ms"]]) == ("data", list(item.header.span))
        plaintext = seal.unseal_with(item, key=base64.b64decode(one["key"]))
        values += frame.decode(plaintext, words[item.header.dictionary]).samples.numeric.tolist()
    assert values == [1.25, 1.5]
    with pytest.raises(SealError):
        seal.unseal_with(items[0], key=base64.b64decode(told["items"][1]["key"]))


async def test_each_request_for_keys_is_audited_once(house: House) -> None:
    await house.commit(1.0, 2.0, at_ms=WALL)
    before = (await house.get("/audit", "administrator", limit=500)).json()["entries"]
    await house.get("/frames", "inspector", **ALL)
    await house.get("/frames", "inspector", keys="true", **ALL)
    after = (await house.get("/audit", "administrator", limit=500)).json()["entries"]
    new = [one for one in after if one["n"] > max((b["n"] for b in before), default=0)]
    assert [(one["action"], one["object"], one["role"]) for one in new] == [("frames.keys", "edge-1", "inspector")]
    assert new[0]["after"]["items"] == 4


async def test_who_may_have_keys(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    for role in ("viewer", "operator", "engineer", "administrator"):
        answer = await house.get("/frames", role, keys="true", **ALL)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
        told = (await house.get("/frames", role, **ALL)).json()
        assert told["items"] and all(one.get("key") is None for one in told["items"])
    foreign = await house.get("/frames", "foreign", **ALL)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "unknown_edge")


async def test_pages_hold_everything_once(house: House) -> None:
    await house.commit(*(float(i) for i in range(9)), at_ms=WALL)
    seen: list[int] = []
    after = -1
    while True:
        told = (await house.get("/frames", limit=2, after=after, kinds="data", **ALL)).json()
        seen += [one["leaf"] for one in told["items"]]
        after = told["next"]
        if not told["more"]:
            break
    assert len(seen) == 9 and seen == sorted(set(seen))
    some = {"edge": "edge-1", "from": WALL + 2000, "to": WALL + 4000}
    part = (await house.get("/frames", kinds="data", **some)).json()
    assert [one["first_ms"] for one in part["items"]] == [WALL + 2000, WALL + 3000]
    kinds = {one["kind"] for one in (await house.get("/frames", **ALL)).json()["items"]}
    assert {"data", "open"} <= kinds
    wrong = await house.get("/frames", kinds="data,nonsense", **ALL)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_parameter")


def test_the_kits_enterprise_is_the_tokens() -> None:
    assert ENTERPRISE == "E1"
