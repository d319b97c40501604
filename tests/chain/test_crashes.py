"""kill -9 at random moments while values flow: what was served long enough before is stored exactly once."""

import asyncio
import random
from pathlib import Path

import pytest

from starproof.demo.files import Choices
from starproof.demo.run import DemoPlant
from tests.chain import harness
from tests.chain.harness import chain, compare, drained, until

LIVE = Choices(profile="live", period_ms=200, deadband=False)


async def rounds(folder: Path, count: int, seed: int, choices: Choices = LIVE) -> harness.Comparison:
    """Kill services, let everything settle, compare."""
    draw = random.Random(seed)
    kills: list[tuple[int, int]] = []
    async with chain(folder, choices) as plant:
        await until(lambda: harness.committed(plant) > 20, "values to flow", 60)
        targets = ["edge", "ingest", "broker"]
        for number in range(count):
            target = targets[number % 3] if count <= 3 else draw.choice(targets)
            # The moment of the kill is the thing tested: any fraction of a frame, of a commit, of a reconnection.
            await asyncio.sleep(draw.uniform(0.4, 1.6))
            killed = harness.now_ms()
            plant.processes.kill(target)
            await asyncio.sleep(draw.uniform(0.0, 0.8))
            plant.start(target)
            if target == "broker":
                await plant.wait_for_port("broker", "broker")
            if target == "edge":
                await until(lambda: stops(plant) > len(kills), "the agent to state its gap", 60)
                kills.append((killed, harness.now_ms()))
            more = harness.committed(plant) + 5
            await until(lambda more=more: harness.committed(plant) > more, f"values after the kill of {target}", 60)
        stopping = harness.now_ms()
        plant.processes.stop("edge")
        plant.processes.stop("plant")
        # Replies on their way to an agent that stops are nobody's, and the gap that it states says so.
        stopped = (stopping + harness.GRACE_MS - harness.EARLY_MS, harness.now_ms())
        # What the agent flushed as it stopped is still to be sent: by the next process of it, without machines.
        plant.start("edge")
        await until(lambda: drained(plant), "everything to be receipted and stored", 60)
        result = await compare(plant, kills=[*kills, stopped])
        repeated = {place: n for place, n in harness.places_in_ledger(plant).items() if n > 1}
        assert repeated == {}
        assert stops(plant) == len(kills) + 1
    return result


def stops(plant: DemoPlant) -> int:
    """How often the agent stated that it had been stopped."""
    return sum(1 for gap in harness.gaps(plant) if gap.reason == "agent_stopped")


def check(result: harness.Comparison) -> None:
    assert result.required > 500
    assert (result.lost[:5], result.unstated[:5], result.invented[:5]) == ([], [], [])


@pytest.mark.timeout(240)
async def test_three_rounds_of_kill_9_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    check(await rounds(tmp_path, 3, seed=1))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_twenty_rounds_of_kill_9_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    check(await rounds(tmp_path, 20, seed=random.SystemRandom().randrange(1 << 30)))
