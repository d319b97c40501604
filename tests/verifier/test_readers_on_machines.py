"""The verifier's readers against the five simulated machines: every tag of the true list of points, and the nameplate."""

import asyncio
from pathlib import Path

import pytest

from simulators.catalogue import make_machine
from telemetry.equipment import equipment_types
from telemetry.points import Machine, OpcUaConnection
from tests.plant import ALL, simulated_plant
from verifier.readers.base import steady_clock
from verifier.readers.certificate import ensure_certificate
from verifier.readers.opcua import Credentials
from verifier.readers.open import reader_for


@pytest.fixture
def own(tmp_path: Path) -> Credentials:
    certificate, key = tmp_path / "own.der", tmp_path / "own.key.pem"
    ensure_certificate(certificate, key)
    return Credentials(str(certificate), str(key))


async def test_every_tag_of_every_machine(tmp_path: Path, own: Credentials) -> None:
    async with simulated_plant(tmp_path / "plant") as plant:

        async def check(uid: str, kind: str) -> None:
            machine: Machine = plant.point_list(uid)
            reader = reader_for(machine, steady_clock(), own)
            identity, scan = await reader.identity(), await reader.scan()
            await reader.close()
            assert (identity.reason, scan.reason) == ("", ""), uid
            assert identity.simulated, uid
            assert identity.nameplate["serial"] == make_machine(kind, uid, 1).nameplate["serial"]
            assert set(scan.reads) == {t.id for t in equipment_types()[kind].tags}
            assert {t: r.reason for t, r in scan.reads.items() if r.value is None} == {}, uid
            if isinstance(machine.connection, OpcUaConnection):
                assert scan.machine_ms is not None

        await asyncio.gather(*(check(*entry.split(":")) for entry in ALL))
