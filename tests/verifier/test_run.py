"""The whole verifier over real sockets: simulated machines, a real broker, a small edge and cloud."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.plant import eventually, simulated_plant
from tests.verifier import toy
from verifier import run
from verifier.chain import Chain
from verifier.cli import app
from verifier.evidence import EvidenceError, load
from verifier.findings import EXIT_FAIL, EXIT_OPEN, EXIT_PASS, Finding, encode
from verifier.plan import PlanError, load_plan
from verifier.readers.certificate import ensure_certificate
from verifier.readers.opcua import Credentials


@pytest.fixture
def own(tmp_path: Path) -> Credentials:
    certificate, key = tmp_path / "own.der", tmp_path / "own.key.pem"
    ensure_certificate(certificate, key)
    return Credentials(str(certificate), str(key))


def odd(findings: tuple[Finding, ...]) -> dict[tuple[str, str], str]:
    """What is not a pass and not blocked, by machine and statement."""
    bad = [f for f in findings if f.state != "pass" and f.reason != "blocked"]
    return {(f.machine, f.statement): f"{f.state.value} {f.reason} {f.en}" for f in bad}


MACHINES = ["motor-1:large_motor", "motor-2:large_motor", "cnc-1:cnc_machine"]


async def test_a_healthy_chain_then_two_faults_at_once(tmp_path: Path, own: Credentials) -> None:
    """First all is well; then two machines' values are swapped, and the cloud's clock is an hour off. Each fault shows as
    itself and as nothing else."""
    async with simulated_plant(tmp_path / "plant", machines=MACHINES) as plant, toy.broker(tmp_path) as port:
        machines = tuple(plant.point_list(uid) for uid in ("motor-1", "motor-2", "cnc-1"))

        async def verify(name: str, made: toy.Toy) -> run.Result:
            plan = made.write_plan(tmp_path / name, port, own)
            return await run.run_plan(plan, tmp_path / name / "out")

        healthy = toy.Toy(machines)
        async with toy.running(healthy, port, own):
            result = await verify("healthy", healthy)
            assert odd(result.findings.findings) == {}
            assert result.exit_code == EXIT_PASS
            assert len(result.findings.findings) == 15
            assert result.findings.simulated
            check_observations(tmp_path / "healthy" / "out")
            check_rejudging(tmp_path / "healthy" / "out")

            healthy.skew_ms, healthy.swap = 3_600_000, {"motor-1": "motor-2", "motor-2": "motor-1"}
            for rows in healthy.rows.values():
                rows.clear()
            await eventually(lambda: all(healthy.rows.values()), what="samples after the swap")
            result = await verify("faulty", healthy)
            found = {k: v.split()[1] for k, v in odd(result.findings.findings).items()}
            assert found == {
                ("motor-1", "rt.3"): "values_differ",
                ("motor-2", "rt.3"): "values_differ",
                **{(m.uid, "rt.4"): "clock_offset" for m in machines},
            }
            assert result.exit_code == EXIT_FAIL


def check_observations(out: Path) -> None:
    """The edge was heard and challenged again at the end, latest values were asked for all along, and reads keep no beat."""
    evidence = load(out, "device.mon.realtime")
    edge = evidence[f"edge/{toy.EDGE}"]
    assert len(edge["heard"]) >= 5
    assert edge["closing"]["echo"] is not None and edge["closing"]["nonce"] != edge["nonce"]
    for uid in ("motor-1", "motor-2", "cnc-1"):
        shown, reads = evidence[f"shown/{uid}"], evidence[f"machine/{uid}"]["reads"]["run_state"]
        assert [answer["status"] for answer in shown["polls"]] == [200] * 6
        assert reads[-1][0] > shown["latest"]["after"]
        gaps = sorted(b[0] - a[0] for a, b in pairwise(reads))
        assert gaps[-1] - gaps[0] > 100


def check_rejudging(out: Path) -> None:
    """From disk, in another run, the same bytes; a changed file is refused."""
    assert encode(run.judge_folder(out)) == (out / run.FINDINGS).read_bytes()
    again = CliRunner().invoke(app, ["--rejudge", "--out", str(out)])
    assert again.exit_code == EXIT_PASS, again.output
    assert "仿真数据" in again.output
    victim = next(p for p in (out / "evidence").iterdir() if b"reads" in p.read_bytes())
    kept = victim.read_bytes()
    victim.write_bytes(kept.replace(b"1", b"2", 1))
    with pytest.raises(EvidenceError, match="changed"):
        run.judge_folder(out)
    assert CliRunner().invoke(app, ["--rejudge", "--out", str(out)]).exit_code == 2
    victim.write_bytes(kept)


def paper_plan(tmp_path: Path, own: Credentials, **changes: Any) -> Path:
    """A plan for a plant that is not there."""
    from tests.verifier.scene import machine

    made = toy.Toy((machine("m1"),))
    return made.write_plan(tmp_path / "plan", toy.free_port(), own, **changes)


def test_a_cloud_that_is_away_fails_every_machines_link(tmp_path: Path, own: Credentials) -> None:
    plan = paper_plan(tmp_path, own)
    ran = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert ran.exit_code == EXIT_FAIL, ran.output
    findings = run.judge_folder(tmp_path / "out").findings
    assert {f.statement: f.reason for f in findings} == {
        "rt.1": "cloud_unreachable",
        **dict.fromkeys(("rt.2", "rt.3", "rt.4", "rt.5"), "blocked"),
    }


async def test_a_fault_of_the_verifier_is_an_error_not_a_verdict(
    tmp_path: Path, own: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Chain) -> dict[str, Any]:
        raise RuntimeError("a bug of ours")

    criterion = run.CRITERIA["device.mon.realtime"]
    monkeypatch.setitem(run.CRITERIA, criterion.id, replace(criterion, observe=broken))
    result = await run.run_plan(paper_plan(tmp_path, own), tmp_path / "out")
    assert {f.state.value for f in result.findings.findings} == {"error"}
    assert result.exit_code == EXIT_FAIL
    assert encode(run.judge_folder(tmp_path / "out")) == result.path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"machines": ["nobody"]}, "no machine nobody"),
        ({"enterprise": "someone else"}, "enterprise"),
        ({"criteria": ["device.mon.magic"]}, "magic"),
        ({"surprise": 1}, "unknown key"),
        ({"cloud": {"url": "http://x", "token_file": "token", "head_key": "AAAA"}}, "head_key"),
    ],
)
def test_an_unusable_plan_is_refused_with_the_reason(
    tmp_path: Path, own: Credentials, changes: dict[str, Any], word: str
) -> None:
    plan = paper_plan(tmp_path, own, **changes)
    ran = CliRunner().invoke(app, [str(plan), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 2
    assert word in " ".join(ran.output.split())


def test_a_point_list_that_the_enterprise_did_not_sign_is_refused(tmp_path: Path, own: Credentials) -> None:
    plan = paper_plan(tmp_path, own)
    points = plan.parent / "points.yaml"
    points.write_text(points.read_text(encoding="utf-8").replace("S-m1", "S-m2"), encoding="utf-8")
    with pytest.raises(PlanError, match="signature does not fit"):
        load_plan(plan)


def test_exit_codes_are_the_contracts() -> None:
    assert (EXIT_PASS, EXIT_FAIL, EXIT_OPEN) == (0, 100, 101)


def test_the_commands_arguments_may_stand_in_any_order_below_a_parent(tmp_path: Path, own: Credentials) -> None:
    parent = typer.Typer()
    parent.add_typer(app, name="verify")
    plan, out = str(paper_plan(tmp_path, own, surprise=1)), str(tmp_path / "out")
    for arguments in ([plan, "--out", out], ["--out", out, plan]):
        ran = CliRunner().invoke(parent, ["verify", *arguments])
        assert (ran.exit_code, "unknown key" in ran.output) == (2, True), ran.output
    assert CliRunner().invoke(parent, ["verify"]).exit_code == 2
