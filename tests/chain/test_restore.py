"""An edge restored from an old copy of its state: a fork is found, nothing is overwritten, new values come in a new stream,
and none of them is lost, however long the edge could not be told.
"""

import shutil
from pathlib import Path

import pytest

from tests.chain import harness
from tests.chain.harness import ADDRESS, chain, until
from tests.chain.test_crashes import LIVE, check


def entries(plant: harness.DemoPlant) -> list[bytes]:
    reader = harness.ledger(plant)
    return [reader.entry(ADDRESS.shard, leaf) for leaf in range(reader.size(ADDRESS.shard))]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_restored_from_an_old_copy(tmp_path: Path) -> None:
    async with chain(tmp_path, LIVE) as plant:
        state, copy = plant.layout.state / "edge", tmp_path / "copy"
        await until(lambda: harness.committed(plant) > 10, "values to flow")
        plant.processes.stop("edge")
        shutil.copytree(state, copy)
        plant.start("edge")
        before = harness.committed(plant)
        await until(lambda: harness.committed(plant) > before + 20, "values after the copy was taken")
        plant.processes.stop("edge")
        shutil.rmtree(state)
        shutil.copytree(copy, state)
        committed = entries(plant)
        (old,) = {entry.stream for entry in harness.catalogue(plant).streams(ADDRESS)}

        plant.start("edge")
        await until(lambda: len(harness.catalogue(plant).streams(ADDRESS)) == 2, "a new stream")
        (new,) = [one for one in harness.catalogue(plant).streams(ADDRESS) if one.stream != old]
        restarted = harness.now_ms()
        await until(lambda: harness.committed(plant) > len(committed) + 20, "values in the new stream")

        assert entries(plant)[: len(committed)] == committed
        assert new.parent == old
        assert harness.catalogue(plant).forks(ADDRESS)
        (known,) = [one for one in harness.catalogue(plant).streams(ADDRESS) if one.stream == old]
        assert known.forked_at is not None
        plant.processes.stop("edge")
        plant.start("edge")
        await until(lambda: harness.drained(plant), "everything to be stored")
        store = harness.historian(plant)
        rows = await harness.stored(store, "motor-1", "speed")
        await store.close()
        assert [at for at, _ in rows if at > restarted]
        assert all(count == 1 for count in harness.places_in_ledger(plant).values())


@pytest.mark.timeout(180)
async def test_what_a_restored_edge_acquires_before_it_is_told_is_stored_once(tmp_path: Path) -> None:
    async with chain(tmp_path, LIVE) as plant:
        state, copy = plant.layout.state / "edge", tmp_path / "copy"
        await until(lambda: harness.committed(plant) > 10, "values to flow")
        plant.processes.stop("edge")
        copied_at = harness.now_ms()
        shutil.copytree(state, copy)
        plant.start("edge")
        before = harness.committed(plant)
        await until(lambda: harness.committed(plant) > before + 60, "the stream to go on after the copy was taken")
        plant.processes.stop("edge")
        plant.processes.stop("broker")
        shutil.rmtree(state)
        shutil.copytree(copy, state)
        held = harness.outbox_held(plant)
        committed = entries(plant)
        (old,) = {entry.stream for entry in harness.catalogue(plant).streams(ADDRESS)}

        plant.start("edge")
        await until(lambda: harness.outbox_held(plant) > held + 2, "the restored edge to run")
        restarted = harness.now_ms()
        # Fewer items than the other branch had: their numbers are all taken.
        await until(lambda: harness.outbox_held(plant) > held + 25, "the restored edge to acquire")
        plant.start("broker")
        await plant.wait_for_port("broker", "broker")
        await until(lambda: len(harness.catalogue(plant).streams(ADDRESS)) == 2, "a new stream", 60)
        more = harness.committed(plant) + 20
        await until(lambda: harness.committed(plant) > more, "values in the new stream")

        plant.processes.stop("edge")
        plant.processes.stop("plant")
        plant.start("edge")
        await until(lambda: harness.drained(plant), "everything to be stored", 60)
        result = await harness.compare(plant, kills=[(copied_at, restarted)])
        assert entries(plant)[: len(committed)] == committed
        assert all(count == 1 for count in harness.places_in_ledger(plant).values())
        check(result)
        stops = [gap for gap in harness.gaps(plant) if gap.reason == "agent_stopped"]
        assert any(gap.from_ms <= copied_at and gap.to_ms <= restarted for gap in stops)
        assert {one.parent for one in harness.catalogue(plant).streams(ADDRESS)} == {None, old}
