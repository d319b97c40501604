"""The check of history over real sockets: plan, API, pages, a browser where there is one, and judging again from disk."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.verifier import scene, toy
from tests.verifier.paper_cloud import PaperCloud
from tests.verifier.test_page import Web, has_browser, serving
from verifier import run
from verifier.findings import Finding, encode
from verifier.plan import CRITERIA, PlanError, load_plan
from verifier.readers.certificate import ensure_certificate
from verifier.readers.opcua import Credentials

TRACE = "device.mon.trace"


class WholeWeb(Web):
    """Pages and API of one paper cloud."""

    def __init__(self, cloud: PaperCloud, **changes: Any) -> None:
        super().__init__(**changes)
        self.cloud = cloud
        self.asked: list[str] = []

    def app(self) -> FastAPI:
        app = FastAPI()
        lists = {"series"}

        @app.get("/api/v1/{path:path}")
        async def api(path: str, request: Request) -> JSONResponse:
            self.asked.append(path)
            if request.headers.get("authorization") != f"Bearer {toy.TOKEN}":
                return JSONResponse({"error": {"code": "no_token"}}, 401)
            given = request.query_params
            params: dict[str, Any] = {k: given.getlist(k) if k in lists else given[k] for k in given}
            answer = await self.cloud.get(f"/{path}", **params)
            return JSONResponse(answer["body"], answer["status"])

        app.mount("/", super().app())
        return app


@pytest.fixture
def own(tmp_path: Path) -> Credentials:
    certificate, key = tmp_path / "own.der", tmp_path / "own.key.pem"
    ensure_certificate(certificate, key)
    return Credentials(str(certificate), str(key))


def plan_of(web: WholeWeb, folder: Path, own: Credentials, **changes: Any) -> Path:
    made = toy.Toy(web.cloud.machines, port=web.port)
    made.edge_key, made.head_key = scene.EDGE_KEY, scene.HEAD_KEY
    page = {"url": f"http://127.0.0.1:{web.port}", "username": "观众", "password_file": "viewer"}
    given = {"criteria": [TRACE], "page": page} | changes
    plan = made.write_plan(folder, toy.free_port(), own, **given)
    (folder / "viewer").write_text("secret\n", encoding="utf-8")
    return plan


def odd(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {f"{f.machine} {f.statement}": f"{f.state.value} {f.reason} {f.en}" for f in findings if f.state != "pass"}


async def test_a_healthy_history_then_one_that_was_edited(tmp_path: Path, own: Credentials) -> None:
    cloud = PaperCloud()
    async with serving(WholeWeb(cloud)) as web:
        result = await run.run_plan(plan_of(web, tmp_path / "healthy", own), tmp_path / "out")
        assert odd(result.findings.findings) == {}
        assert result.exit_code == 0
        assert encode(run.judge_folder(tmp_path / "out")) == result.path.read_bytes()
        kept = b"".join(p.read_bytes() for p in (tmp_path / "out" / "evidence").iterdir())
        assert b'"picture_sha256"' in kept or not has_browser()
        assert b"s3ss10n" not in kept
        assert toy.TOKEN.encode() not in kept
        assert b'"secret"' not in kept
        for row in cloud.rows["m2"]["active_power"]:
            row[1] = round(row[1], 3)
        result = await run.run_plan(plan_of(web, tmp_path / "edited", own), tmp_path / "out2")
        states = {(f.machine, f.statement): (f.state.value, f.reason) for f in result.findings.findings}
        assert states["m2", "tr.1"] == ("fail", "rows_edited")
        assert {states["m2", f"tr.{n}"] for n in (2, 3, 4, 5)} == {("not_checked", "blocked")}
        assert {states["m1", f"tr.{n}"] for n in (1, 2, 3, 4, 5)} == {("pass", "")}


async def test_a_wrong_password_leaves_the_pages_open(tmp_path: Path, own: Credentials) -> None:
    async with serving(WholeWeb(PaperCloud(uids=("m1",)))) as web:
        plan = plan_of(web, tmp_path / "plan", own)
        (tmp_path / "plan" / "viewer").write_text("guess")
        result = await run.run_plan(plan, tmp_path / "out")
    reasons = {f.statement: f.reason for f in result.findings.findings if f.state != "pass"}
    assert reasons == dict.fromkeys(("tr.3", "tr.4", "tr.5"), "page_login_refused")


def test_a_plan_names_a_page_and_its_viewer(tmp_path: Path, own: Credentials) -> None:
    web = WholeWeb(PaperCloud(uids=("m1",)))
    plan = load_plan(plan_of(web, tmp_path / "plan", own))
    assert plan.viewer_password == "secret"
    assert "secret" not in repr(plan)
    assert set(CRITERIA) <= set(run.CRITERIA)
    bad = plan_of(web, tmp_path / "bad", own, page={"url": "http://x", "username": "a", "password_file": "nowhere"})
    with pytest.raises(PlanError, match="nowhere"):
        load_plan(bad)
