"""The verification pages: what was found, what was not checked, and the bytes it rests on."""

from pathlib import Path

from tests.cloud.conftest import House, house
from tests.dashboards.pages_kit import application, browser, marked
from tests.ingest.edge_kit import ENTERPRISE
from verifier.evidence import make, save
from verifier.findings import Figure, Finding, Findings, encode
from verifier.states import State

__all__ = ["house"]


def finding(statement: str, state: State, evidence: tuple[str, ...] = (), simulated: bool = True) -> Finding:
    figure = Figure(name="nonce_back_s", value=0.25, unit="s", op="<=", threshold=20.0, why_zh="理由", why_en="reason")
    return Finding(
        statement=statement,
        criterion="device.mon.realtime",
        machine="boiler-1",
        need="must",
        state=state,
        figures=(figure,),
        evidence=evidence,
        zh=f"因为{statement}",
        en=f"because {statement}",
        simulated=simulated,
    )


def run(folder: Path, name: str = "20260101-000000", enterprise: str = ENTERPRISE) -> str:
    """A run in a folder; the hash of its one observation."""
    evidence = make("device.mon.realtime", {"machine/boiler-1": {"reads": [1, 2]}})
    save(evidence, folder / name)
    (sha256,) = evidence.hashes("machine/boiler-1")
    states = {"rt.1": State.PASS, "rt.2": State.FAIL, "rt.3": State.REVIEW, "rt.4": State.NOT_CHECKED}
    found = Findings(
        ruleset="r",
        rules_sha256="0" * 64,
        enterprise=enterprise,
        started_ms=1_767_225_600_000,
        simulated=True,
        findings=tuple(finding(statement, state, (sha256,)) for statement, state in states.items()),
    )
    (folder / name / "findings.json").write_bytes(encode(found))
    return sha256


async def test_findings_with_figures_limits_and_what_was_not_checked(house: House, tmp_path: Path) -> None:
    run(tmp_path)
    app = application(house, tmp_path)
    async with browser(app, house, "viewer") as one:
        listed = (await one.get("/verification")).text
        assert "20260101-000000" in marked(listed, "run")
        page = (await one.get("/verification/20260101-000000")).text
        assert marked(page, "statement") == ["rt.1", "rt.2", "rt.3", "rt.4"]
        for text in ("因为rt.4", "未检查", "待人工复核", "0.25 s", "≤ 20 s", "理由", "仿真数据 SIMULATED"):
            assert text in page
        english = (await one.get("/verification/20260101-000000?lang=en")).text
        assert "because rt.4" in english and "Not checked" in english


async def test_the_raw_observation_is_given_and_a_changed_one_refused(house: House, tmp_path: Path) -> None:
    sha256 = run(tmp_path)
    app = application(house, tmp_path)
    path = f"/verification/20260101-000000/evidence/{sha256}.json"
    async with browser(app, house, "viewer") as one:
        answer = await one.get(path)
        assert answer.json() == {"reads": [1, 2]} and answer.headers["content-type"] == "application/json"
        assert (await one.get(path.replace(sha256, "0" * 64))).status_code == 404
        (tmp_path / "20260101-000000" / "evidence" / f"{sha256}.json").write_text("{}")
        assert (await one.get(path)).status_code == 409


async def test_another_enterprise_sees_nothing_of_it(house: House, tmp_path: Path) -> None:
    sha256 = run(tmp_path)
    app = application(house, tmp_path)
    async with browser(app, house, "administrator", enterprise="E2") as one:
        assert "20260101-000000" not in (await one.get("/verification")).text
        assert (await one.get("/verification/20260101-000000")).status_code == 404
        assert (await one.get(f"/verification/20260101-000000/evidence/{sha256}.json")).status_code == 404


async def test_no_folder_and_strange_names(house: House, tmp_path: Path) -> None:
    async with browser(application(house), house, "viewer") as one:
        assert (await one.get("/verification")).status_code == 200
        assert (await one.get("/verification/..%2f..")).status_code == 404
        assert (await one.get("/verification/.hidden")).status_code == 404
