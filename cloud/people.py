"""People: users and their passwords, sessions, and the enterprise they belong to.

Passwords are kept as argon2id hashes. Logging in takes as long for a name that nobody has as for a wrong password, and after a
few failures from one address a name must wait, longer each time. A changed password, role or a disabled user ends
all of that user's sessions. An enterprise always has an administrator who can log in, once it has one.
"""

import hashlib
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from cloud import audit, auth
from cloud.auth import Principal, Role
from cloud.errors import ApiError
from cloud.schema import people as tables
from ingest.sql import insert_for
from telemetry import clock

SESSION_MS = 12 * 3_600_000
LEAST_PASSWORD, LONGEST_PASSWORD = 10, 256
FREE_FAILURES = 5  # wrong passwords before waiting begins
_WAIT_MS, _LONGEST_WAIT_MS = 2_000, 900_000
_FORGOTTEN_MS = 86_400_000

_HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommendation
_NOBODYS = _HASHER.hash("a password that nobody has")


class PeopleError(ApiError):
    """Something about people cannot be done. `code`: name_taken, unknown_user, unknown_token, weak_password,
    last_administrator."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        status = {"unknown_user": 404, "unknown_token": 404, "weak_password": 400}.get(code, 409)
        super().__init__(status, code, zh, en)


class LogInRefused(ApiError):
    """Nobody was let in. `wait_s` is 0 for a wrong name or password (which of the two is not said), else how long to wait."""

    def __init__(self, wait_s: int = 0) -> None:
        self.wait_s = wait_s
        if wait_s:
            super().__init__(429, "wait", f"尝试次数过多，请 {wait_s} 秒后再试", f"too many attempts: wait {wait_s} s")
        else:
            super().__init__(401, "bad_login", "用户名或密码错误", "wrong name or password")


# ---- the enterprise


def ensure_enterprise(db: Connection, enterprise: str) -> None:
    """Enter an enterprise that is not there yet."""
    row = {"name": "", "address": "", "contact": "", "phone": "", "changed_ms": clock.now_ms()}
    db.execute(insert_for(db, tables.enterprises).values(enterprise=enterprise, **row).on_conflict_do_nothing())


def enterprise_of(db: Connection, enterprise: str) -> dict[str, Any]:
    """What an enterprise says of itself; empty texts where it has said nothing."""
    table = tables.enterprises
    row = db.execute(select(table).where(table.c.enterprise == enterprise)).mappings().first()
    empty = {"enterprise": enterprise, "name": "", "address": "", "contact": "", "phone": "", "changed_ms": None}
    return empty if row is None else {name: row[name] for name in empty}


def change_enterprise(db: Connection, who: Principal, changes: dict[str, str]) -> dict[str, Any]:
    """Change name, address, contact or phone of the principal's enterprise."""
    audit.lock(db, who.enterprise)
    ensure_enterprise(db, who.enterprise)
    before = enterprise_of(db, who.enterprise)
    if any(before[name] != value for name, value in changes.items()):
        table = tables.enterprises
        row = {**changes, "changed_ms": clock.now_ms()}
        db.execute(update(table).where(table.c.enterprise == who.enterprise).values(**row))
        after = enterprise_of(db, who.enterprise)
        audit.record(db, who, "enterprise.change", who.enterprise, before, after)
    return enterprise_of(db, who.enterprise)


# ---- users


def create_user(
    db: Connection, who: Principal | str, *, enterprise: str, name: str, password: str, role: Role
) -> dict[str, Any]:
    """Enter a user. Raises PeopleError (name_taken, weak_password)."""
    hashed = _hashed(password, name)
    audit.lock(db, enterprise)
    ensure_enterprise(db, enterprise)
    now = clock.now_ms()
    row = {"enterprise": enterprise, "role": role, "disabled": False, "created_ms": now, "changed_ms": now}
    entered = insert_for(db, tables.users).values(name=name, password=hashed, seen_ms=None, **row)
    if db.execute(entered.on_conflict_do_nothing().returning(tables.users.c.name)).first() is None:
        raise PeopleError("name_taken", f"用户名 {name} 已被使用", f"the name {name} is taken")
    made = get(db, enterprise, name)
    audit.record(db, who, "user.create", name, None, made, enterprise=enterprise)
    return made


def users(db: Connection, enterprise: str) -> list[dict[str, Any]]:
    """All users of an enterprise by name, without their passwords."""
    table = tables.users
    query = select(table).where(table.c.enterprise == enterprise).order_by(table.c.name)
    return [_user(row) for row in db.execute(query).mappings()]


def get(db: Connection, enterprise: str, name: str) -> dict[str, Any]:
    """One user. Raises PeopleError (unknown_user), also for another enterprise's."""
    table = tables.users
    query = select(table).where(table.c.enterprise == enterprise, table.c.name == name)
    row = db.execute(query).mappings().first()
    if row is None:
        raise PeopleError("unknown_user", f"没有用户 {name}", f"there is no user {name}")
    return _user(row)


def change_user(
    db: Connection,
    who: Principal | str,
    *,
    enterprise: str,
    name: str,
    role: Role | None = None,
    disabled: bool | None = None,
    password: str | None = None,
) -> dict[str, Any]:
    """Change a user's role, whether it may log in, or its password; ends its sessions. Raises PeopleError."""
    hashed = None if password is None else _hashed(password, name)
    audit.lock(db, enterprise)
    before = get(db, enterprise, name)
    given = {"role": role, "disabled": disabled}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value not in (None, before[key])}
    if not changes and hashed is None:
        return before
    after = {**before, **changes, "changed_ms": clock.now_ms()}
    if _rules(before) and not _rules(after) and _administrators(db, enterprise) == 1:
        raise PeopleError(
            "last_administrator", "至少须保留一名可登录的管理员", "an enterprise keeps one administrator who can log in"
        )
    stored = changes | {"changed_ms": after["changed_ms"]} | ({} if hashed is None else {"password": hashed})
    db.execute(update(tables.users).where(tables.users.c.name == name).values(**stored))
    db.execute(delete(tables.sessions).where(tables.sessions.c.name == name))
    told = {"password": "changed"} if hashed is not None else {}
    audit.record(db, who, "user.change", name, before, after | told, enterprise=enterprise)
    return after


def set_password(db: Connection, who: Principal | str, *, enterprise: str, name: str, password: str) -> None:
    """Give a user a new password. Raises PeopleError (unknown_user, weak_password)."""
    change_user(db, who, enterprise=enterprise, name=name, password=password)


def _user(row: Any) -> dict[str, Any]:
    names = ("name", "enterprise", "role", "disabled", "created_ms", "changed_ms", "seen_ms")
    return {name: row[name] for name in names}


def _rules(user: dict[str, Any]) -> bool:
    return user["role"] == "administrator" and not user["disabled"]


def _administrators(db: Connection, enterprise: str) -> int:
    table = tables.users
    of_them = (table.c.enterprise == enterprise) & (table.c.role == "administrator") & table.c.disabled.is_(False)
    return int(db.execute(select(func.count()).select_from(table).where(of_them)).scalar() or 0)


def _hashed(password: str, name: str) -> str:
    if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD or password.lower() == name.lower():
        raise PeopleError(
            "weak_password",
            f"密码须为 {LEAST_PASSWORD} 至 {LONGEST_PASSWORD} 个字符，且不同于用户名",
            f"a password has {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters and is not the user's name",
        )
    return _HASHER.hash(password)


# ---- sessions


def log_in(database: Engine, name: str, password: str, *, address: str) -> str:
    """Begin a session; its secret, which goes into the cookie and is kept nowhere (`auth.csrf_of` gives its CSRF token).
    `address`: whence the request came. Blocks for as long as the password takes to check (tens of milliseconds): call it in
    a thread. Raises LogInRefused."""
    key = hashlib.sha256(f"{name.lower()}\0{address}".encode()).hexdigest()
    now = clock.now_ms()
    with database.begin() as db:
        wait_ms = _count_attempt(db, key, now)
        row = db.execute(select(tables.users).where(tables.users.c.name == name)).first()
    if wait_ms > 0:
        raise LogInRefused(-(-wait_ms // 1000))
    right = _matches(_NOBODYS if row is None else row.password, password)
    if row is None or row.disabled or not right:
        raise LogInRefused
    secret, digest = auth.new_secret()
    expires_ms = now + SESSION_MS
    with database.begin() as db:
        db.execute(delete(tables.throttles).where(tables.throttles.c.key == key))
        db.execute(delete(tables.sessions).where(tables.sessions.c.expires_ms <= now))
        same = (tables.users.c.name == name) & (tables.users.c.password == row.password)
        if db.execute(update(tables.users).where(same).values(seen_ms=now)).rowcount == 0:
            raise LogInRefused  # the password was changed while it was being checked
        session = {"name": name, "created_ms": now, "expires_ms": expires_ms}
        db.execute(insert(tables.sessions).values(hash=digest, **session))
        principal = auth.find_session(db, secret)
        if principal is None:
            raise LogInRefused
        audit.record(db, principal, "session.begin", name, None, {"address": address[:64], "expires_ms": expires_ms})
    return secret


def log_out(database: Engine, secret: str) -> None:
    """End a session, if it is one."""
    with database.begin() as db:
        db.execute(delete(tables.sessions).where(tables.sessions.c.hash == auth.hash_of(secret)))


def _count_attempt(db: Connection, key: str, now_ms: int) -> int:
    """Count an attempt as a failure until it proves right; how long it must still wait, and then it is not counted."""
    table = tables.throttles
    db.execute(delete(table).where(table.c.last_ms < now_ms - _FORGOTTEN_MS))
    row = db.execute(select(table.c.failures, table.c.last_ms).where(table.c.key == key).with_for_update()).first()
    if row is not None and row.failures >= FREE_FAILURES:
        wait_ms = min(_WAIT_MS << min(row.failures - FREE_FAILURES, 10), _LONGEST_WAIT_MS)
        if now_ms < row.last_ms + wait_ms:
            return row.last_ms + wait_ms - now_ms
    counted = insert_for(db, table).values(key=key, failures=1, last_ms=now_ms)
    more = {"failures": table.c.failures + 1, "last_ms": now_ms}
    db.execute(counted.on_conflict_do_update(index_elements=["key"], set_=more))
    return 0


def _matches(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, password[:LONGEST_PASSWORD])
    except VerificationError:
        return False
