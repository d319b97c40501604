"""Administration: edges, users, tokens, the audit log, the enterprise. Forms speak to the API (static/js/forms.js)."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from cloud.auth import ROLES, Principal, needs
from dashboards import api
from dashboards.render import page

router = APIRouter(prefix="/admin")

EdgeKeeper = Annotated[Principal, needs("edges.admin")]
UserKeeper = Annotated[Principal, needs("users.admin")]
TokenKeeper = Annotated[Principal, needs("tokens.admin")]
AuditReader = Annotated[Principal, needs("audit.read")]

_PAGE = 100

# msgids
ROLE_NAMES = {
    "viewer": "查看者",
    "operator": "操作员",
    "engineer": "工程师",
    "administrator": "管理员",
    "inspector": "检查员",
    "system": "系统",
}
ROLE_MEANS = {
    "viewer": "查看全部数据",
    "operator": "另可确认和搁置报警",
    "engineer": "另可修改报警规则和通知渠道",
    "administrator": "另可管理网关、用户和令牌",
    "inspector": "核验用：查看、试验报警规则、读审计记录",
}
ACTIONS = {
    "user.create": "新建用户",
    "user.change": "修改用户",
    "session.begin": "登录",
    "token.create": "新建令牌",
    "token.revoke": "撤销令牌",
    "enterprise.change": "修改企业信息",
    "edge.approve": "批准网关",
    "edge.revoke": "吊销网关",
    "rule.create": "新建规则",
    "rule.change": "修改规则",
    "rule.retire": "停用规则",
    "alarm.acknowledge": "确认报警",
    "alarm.shelve": "搁置报警",
    "alarm.unshelve": "取消搁置",
    "channel.create": "新建通知渠道",
    "channel.delete": "删除通知渠道",
    "channel.test": "测试通知渠道",
    "frames.keys": "读取帧密钥",
}


@router.get("/edges")
async def edges(request: Request, caller: EdgeKeeper) -> Response:
    """Edges: whether they are online, their keys, what is missing; approving and revoking."""
    listed, devices = await asyncio.gather(api.get(request, "/edges"), api.get(request, "/devices"))
    carried: dict[str, list[dict[str, Any]]] = {}
    for one in devices["devices"]:
        carried.setdefault(one["edge"], []).append(one)
    return page(
        request, caller, "admin_edges.html", place="edges", edges=sorted(listed["edges"], key=_worst), carried=carried
    )


@router.get("/users")
async def users(request: Request, caller: UserKeeper) -> Response:
    """Users, and the enterprise."""
    listed, enterprise = await asyncio.gather(api.get(request, "/users"), api.get(request, "/enterprise"))
    return page(
        request,
        caller,
        "admin_users.html",
        place="users",
        users=listed["users"],
        enterprise=enterprise["enterprise"],
        roles=ROLES,
        role_names=ROLE_NAMES,
        role_means=ROLE_MEANS,
    )


@router.get("/tokens")
async def tokens(request: Request, caller: TokenKeeper) -> Response:
    """Tokens for programs and for inspectors."""
    listed = await api.get(request, "/tokens")
    now = int(listed["server_ms"])
    return page(
        request,
        caller,
        "admin_tokens.html",
        place="tokens",
        tokens=[{**one, "good": _good(one, now)} for one in listed["tokens"]],
        roles=ROLES,
        role_names=ROLE_NAMES,
    )


@router.get("/audit")
async def audit_log(
    request: Request, caller: AuditReader, before: Annotated[int | None, Query(ge=1, le=1 << 53)] = None
) -> Response:
    """The audit log, newest first; whether its chain of hashes holds on this page."""
    found = await api.get(request, "/audit", newest=True, before=before, limit=_PAGE)
    return page(
        request,
        caller,
        "admin_audit.html",
        place="audit",
        entries=found["entries"],
        broken=found["broken_at"],
        older=found["entries"][-1]["n"] if found["more"] else None,
        newest=before is None,
        actions=ACTIONS,
        role_names=ROLE_NAMES,
        changes=changes,
    )


def changes(entry: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of what an entry changed."""
    before, after = entry["before"] or {}, entry["after"] or {}
    names = [name for name in {**before, **after} if name != "changed_ms" and before.get(name) != after.get(name)]
    return [(name, before.get(name), after.get(name)) for name in names]


def _worst(edge: dict[str, Any]) -> tuple[bool, bool, bool, str]:
    missing = any(one["missing"] for one in edge["streams"])
    return edge["revoked_ms"] is not None, edge["online"] and not edge["forks"], not missing, edge["edge"]


def _good(token: dict[str, Any], now_ms: int) -> bool:
    return token["revoked_ms"] is None and (token["expires_ms"] is None or token["expires_ms"] > now_ms)
