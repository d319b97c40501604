"""Who asks, and what they may: a bearer token or a session's cookie, and one table of permissions.

Every route names one permission of `PERMISSIONS`; a permission is a set of roles. A browser sends its cookie by itself, also
when another site makes it ask: therefore a request that changes something must, with a cookie, name the session's CSRF token
as well, and a WebSocket must come from a page of this host.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from sqlalchemy import Connection, Engine, select

from cloud.errors import ApiError
from cloud.schema import people as tables
from cloud.services import Services, services_of
from telemetry import clock
from telemetry.points import Strict

Role = Literal["viewer", "operator", "engineer", "administrator", "inspector"]

ROLES: tuple[Role, ...] = get_args(Role)
SESSION_COOKIE = "starproof_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"

_EVERYBODY: frozenset[Role] = frozenset(ROLES)
_OPERATORS: frozenset[Role] = frozenset(("operator", "engineer", "administrator"))
_ENGINEERS: frozenset[Role] = frozenset(("engineer", "administrator"))
_INSPECTORS: frozenset[Role] = frozenset(("inspector",))
_ADMINISTRATORS: frozenset[Role] = frozenset(("administrator",))

PERMISSIONS: dict[str, frozenset[Role]] = {
    "read": _EVERYBODY,
    "alarms.read": _EVERYBODY,
    "alarms.acknowledge": _OPERATORS,
    "alarms.shelve": _OPERATORS,
    "rules.read": _EVERYBODY,
    "rules.write": _ENGINEERS | _INSPECTORS,
    "channels.read": _EVERYBODY,
    "channels.write": _ENGINEERS | _INSPECTORS,
    "users.admin": _ADMINISTRATORS,
    "tokens.admin": _ADMINISTRATORS,
    "edges.admin": _ADMINISTRATORS,
    "enterprise.admin": _ADMINISTRATORS,
    "audit.read": _ADMINISTRATORS | _INSPECTORS,
    "frames.keys": _INSPECTORS,
}

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_MAX_FORM_BYTES = 1 << 20


class Principal(Strict):
    """Who was let in. `expires_ms` None for a token without an end; `csrf` is a session's; `login` names the token or session
    (the token's id, the hash of the session's secret)."""

    name: str
    enterprise: str
    role: Role
    expires_ms: int | None
    via: Literal["token", "session"] = "token"
    csrf: str | None = None
    login: str | None = None

    def may(self, permission: str) -> bool:
        """Whether this role has a permission."""
        return self.role in PERMISSIONS[permission]


def new_secret() -> tuple[str, str]:
    """A new secret (of a token or a session), and its hash for the database."""
    secret = secrets.token_urlsafe(32)
    return secret, hash_of(secret)


def hash_of(secret: str) -> str:
    """What stands in the database for a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_of(secret: str) -> str:
    """The CSRF token of a session: follows from its secret, and tells nothing of it."""
    return hmac.new(secret.encode(), b"starproof csrf", hashlib.sha256).hexdigest()


def find_token(db: Connection, secret: str) -> Principal | None:
    """Whose token this is; None for one that is unknown, revoked or has ended."""
    table = tables.tokens
    row = db.execute(select(table).where(table.c.hash == hash_of(secret))).first()
    ended = row is None or row.revoked_ms is not None or (row.expires_ms or 1 << 62) <= clock.now_ms()
    if row is None or ended:
        return None
    return Principal(
        name=row.name, enterprise=row.enterprise, role=row.role, expires_ms=row.expires_ms, login=row.token
    )


def find_session(db: Connection, secret: str) -> Principal | None:
    """Whose session this is; None for one that is unknown or has ended, or whose user may no longer log in."""
    sessions, users = tables.sessions, tables.users
    query = (
        select(users.c.name, users.c.enterprise, users.c.role, sessions.c.expires_ms)
        .join(users, users.c.name == sessions.c.name)
        .where(sessions.c.hash == hash_of(secret), users.c.disabled.is_(False))
    )
    row = db.execute(query).first()
    if row is None or row.expires_ms <= clock.now_ms():
        return None
    return Principal(
        name=row.name,
        enterprise=row.enterprise,
        role=row.role,
        expires_ms=row.expires_ms,
        via="session",
        csrf=csrf_of(secret),
        login=hash_of(secret),
    )


async def _form_field(connection: HTTPConnection) -> str:
    """The CSRF token of a form, read only where a session's cookie came with one."""
    if not isinstance(connection, Request) or connection.method in _SAFE_METHODS:
        return ""
    kind = connection.headers.get("content-type", "").split(";")[0].strip().lower()
    length = connection.headers.get("content-length", "")
    if SESSION_COOKIE not in connection.cookies or kind not in _FORMS or CSRF_HEADER in connection.headers:
        return ""
    if not length.isdigit() or int(length) > _MAX_FORM_BYTES:
        return ""
    value = (await connection.form()).get(CSRF_FIELD)
    return value if isinstance(value, str) else ""


def authenticate(connection: HTTPConnection, form: Annotated[str, Depends(_form_field)] = "") -> Principal:
    """The principal of a request or WebSocket, by its Authorization header or else its cookie. `form` is the CSRF token of a
    form, which FastAPI hands in; who calls this by hand has none, and then what changes something needs the header. Blocks
    for a query. Raises ApiError."""
    database = services_of(connection).database
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        principal = _find(database, find_token, token.strip())
        if principal is None:
            raise ApiError(401, "bad_token", "访问令牌无效或已过期", "the token is unknown or has ended")
        return principal
    secret = connection.cookies.get(SESSION_COOKIE)
    if not secret:
        raise ApiError(401, "no_token", "请先登录或提供访问令牌", "log in, or give a bearer token")
    principal = _find(database, find_session, secret)
    if principal is None:
        raise ApiError(401, "bad_session", "登录已失效，请重新登录", "the session has ended: log in again")
    _check_origin(connection, principal, form)
    return principal


def _find(database: Engine, how: Callable[[Connection, str], Principal | None], secret: str) -> Principal | None:
    with database.connect() as db:
        return how(db, secret)


async def still_good(services: Services, principal: Principal) -> bool:
    """Whether what let a principal in still would, with the same role: asked again for as long as a connection lasts."""
    if principal.expires_ms is not None and principal.expires_ms <= clock.now_ms():
        return False
    return principal.login is None or await asyncio.to_thread(_still_good, services.database, principal)


def _still_good(database: Engine, principal: Principal) -> bool:
    with database.connect() as db:
        if principal.via == "token":
            table = tables.tokens
            query = select(table.c.role).where(table.c.token == principal.login, table.c.revoked_ms.is_(None))
        else:
            sessions, users = tables.sessions, tables.users
            query = (
                select(users.c.role)
                .join(sessions, users.c.name == sessions.c.name)
                .where(sessions.c.hash == principal.login, users.c.disabled.is_(False))
            )
        return db.execute(query).scalar() == principal.role


def _check_origin(connection: HTTPConnection, principal: Principal, form: str) -> None:
    """Raises ApiError where a page of another site may be behind a request with our cookie."""
    if connection.scope["type"] == "websocket":
        origin = urlsplit(connection.headers.get("origin", ""))
        if not origin.netloc or origin.netloc.lower() != connection.headers.get("host", "").lower():
            raise ApiError(403, "foreign_origin", "请求来自其他网站", "the request comes from another site")
    elif connection.scope["method"] not in _SAFE_METHODS:
        given = connection.headers.get(CSRF_HEADER) or form
        if not hmac.compare_digest(given.encode(), (principal.csrf or "").encode()):
            raise ApiError(
                403, "no_csrf", "页面已过期，请刷新后重试", "the CSRF token is missing or wrong: load the page again"
            )


def set_cookie(response: Response, secret: str, *, expires_ms: int, https: bool) -> None:
    """Give a browser its session."""
    age_s = max(0, (expires_ms - clock.now_ms()) // 1000)
    response.set_cookie(SESSION_COOKIE, secret, max_age=age_s, path="/", secure=https, httponly=True, samesite="lax")


def clear_cookie(response: Response, *, https: bool) -> None:
    """Take a browser's session away."""
    response.delete_cookie(SESSION_COOKIE, path="/", secure=https, httponly=True, samesite="lax")


_checks: dict[str, Callable[..., Awaitable[Principal]]] = {}


def needs(permission: str) -> Any:
    """The dependency of a route that needs a permission: `Annotated[Principal, needs("rules.write")]`. The same one each time,
    so that a test can tell which permission a route has (`permission_of`). Raises KeyError for an unknown one."""
    allowed = PERMISSIONS[permission]
    if permission not in _checks:

        async def check(principal: Annotated[Principal, Depends(authenticate)]) -> Principal:
            if principal.role not in allowed:
                raise ApiError(403, "not_allowed", "您的角色没有该权限", f"the role {principal.role} may not do this")
            return principal

        _checks[permission] = check
    return Depends(_checks[permission])


def permission_of(dependency: Any) -> str | None:
    """The permission that a route's dependency asks for; None if it is another dependency."""
    return next((name for name, check in _checks.items() if check is dependency), None)


Caller = Annotated[Principal, needs("read")]
House = Annotated[Services, Depends(services_of)]
