"""What the verifier found: its runs, the findings of one, and the observations that they rest on."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from cloud.auth import Caller
from cloud.errors import ApiError
from dashboards.pages import verification_runs as stored
from dashboards.render import page
from dashboards.state import state_of

router = APIRouter()


@router.get("/verification")
def verification(request: Request, caller: Caller) -> HTMLResponse:
    """All runs, and the findings of the last one."""
    folder = state_of(request).verifications
    runs = stored.runs(folder, caller.enterprise)
    return page(
        request,
        caller,
        "verification.html",
        place="verification",
        configured=folder is not None,
        runs=runs,
        latest=runs[0] if runs else None,
        criteria=stored.view(runs[0]) if runs else [],
        states=stored.STATE_ZH,
    )


@router.get("/verification/{run}")
def verification_run(request: Request, run: str, caller: Caller) -> HTMLResponse:
    """The findings of one run."""
    found = _run(request, run, caller.enterprise)
    return page(
        request,
        caller,
        "verification_run.html",
        place="verification",
        run=found,
        criteria=stored.view(found),
        states=stored.STATE_ZH,
    )


@router.get("/verification/{run}/evidence/{sha256}.json")
def evidence(request: Request, run: str, sha256: str, caller: Caller) -> Response:
    """The bytes of an observation, as the verifier kept them."""
    try:
        data = stored.observation(_run(request, run, caller.enterprise), sha256)
    except stored.Damaged as error:
        raise ApiError(409, "evidence_changed", "证据文件已被改动", "the evidence file was changed") from error
    if data is None:
        raise ApiError(404, "unknown_evidence", "没有该证据", "there is no such evidence")
    return Response(data, media_type="application/json")


def _run(request: Request, name: str, enterprise: str) -> stored.Run:
    found = stored.read(state_of(request).verifications, name, enterprise)
    if found is None:
        raise ApiError(404, "unknown_run", "没有该次核验", "there is no such run")
    return found
