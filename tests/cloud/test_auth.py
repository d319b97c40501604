"""Who is let in, and what they see."""

import pytest

from cloud.auth import Tokens, hash_of
from telemetry.settings import SettingsError
from tests.cloud.conftest import FOREIGN, House, write_tokens
from tests.ingest.edge_kit import WALL

PATHS = [
    "/time",
    "/devices",
    "/devices/edge-1-boiler/latest",
    "/devices/edge-1-boiler/history?tag=p&from=0&to=9",
    "/devices/edge-1-boiler/aggregate?tag=p&from=0&to=9",
    "/devices/edge-1-boiler/coverage?from=0&to=9",
    "/edges",
    "/ledger/head",
    "/ledger/proof?edge=edge-1&stream=00000000000000000000000000000000&sequence=0",
    "/ledger/consistency?shard=0&old=0&new=0",
]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_told_without_a_token(house: House, path: str) -> None:
    for token, code in ((None, "no_token"), ("guess", "bad_token"), ("old", "bad_token")):
        answer = await house.get(path, token=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_is_behind_a_token(house: House) -> None:
    """A route added later and forgotten above is found here."""
    await house.commit(1.0, at_ms=WALL)
    known = {path.split("?")[0].replace("edge-1-boiler", "{uid}") for path in PATHS}
    paths = {str(path).removeprefix("/api/v1") for path in house.app.openapi()["paths"]}
    assert paths == known


async def test_a_token_sees_its_own_enterprise_only(house: House) -> None:
    await house.commit(1.0, at_ms=WALL)
    assert len((await house.get("/devices")).json()["devices"]) == 1
    assert (await house.get("/devices", token="foreign")).json()["devices"] == []
    assert (await house.get("/edges", token="foreign")).json()["edges"] == []
    for path in PATHS[2:6]:
        assert (await house.get(path, token="foreign")).json()["error"]["code"] == "unknown_device"
    stream = house.edge.outbox.position().stream.hex()
    asked = {"edge": "edge-1", "stream": stream, "sequence": 0}
    assert (await house.get("/ledger/proof", **asked)).status_code == 200
    assert (await house.get("/ledger/proof", token="foreign", **asked)).json()["error"]["code"] == "not_committed"


async def test_a_token_taken_out_is_refused_at_once(house: House) -> None:
    assert (await house.get("/time")).status_code == 200
    digest = hash_of(house.tokens["foreign"])
    write_tokens(house.tokens_file, {"foreign": (digest, FOREIGN, None)})
    assert (await house.get("/time")).status_code == 401
    assert (await house.get("/time", token="foreign")).status_code == 200
    house.tokens_file.write_text("tokens: [{")  # a slip while editing locks nobody out
    assert (await house.get("/time", token="foreign")).status_code == 200


def test_a_tokens_file_that_cannot_be_read_stops_the_start(tmp_path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Tokens(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("tokens:\n  - {name: a, enterprise: E, sha256: abc}\n")
    with pytest.raises(SettingsError, match="sha256"):
        Tokens(tmp_path / "bad.yaml")
