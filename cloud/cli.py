"""`starproof web`: serve the API; enter people, and hand out tokens, before anybody can do so over the API."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from cloud import auth, people, settings, tokens
from cloud.errors import ApiError
from cloud.schema import open_database
from telemetry.commands import console, fail, load
from telemetry.keys import KeyFileError
from telemetry.mqtt import BrokerRefused
from telemetry.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True, help="The cloud's HTTP API: devices, values, history, ledger proofs, live. 云端接口"
)
user = typer.Typer(no_args_is_help=True, help="People who may log in. 用户")
app.add_typer(user, name="user")

Config = Annotated[Path, typer.Argument(help="The web service's YAML file.", exists=True, dir_okay=False)]
Enterprise = Annotated[str, typer.Option(help="The only enterprise that is seen.")]
RoleName = Annotated[str, typer.Option(help=f"One of {', '.join(auth.ROLES)}.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="A file with the password; without it, it is asked for.", exists=True)
]

T = TypeVar("T")

_COMMAND_LINE = "command line"


@app.command()
def run(config: Config) -> None:
    """Serve the API until told to stop."""
    loaded = load(settings.load, config)
    from cloud import web

    try:
        web.run(loaded)
    except (SettingsError, BrokerRefused, KeyFileError, OSError) as error:
        raise fail(str(error)) from error


@app.command()
def token(
    config: Config,
    name: Annotated[str, typer.Option(help="Whose token it is.")],
    enterprise: Enterprise,
    role: RoleName = "viewer",
    hours: Annotated[float | None, typer.Option(min=0.1, help="How long it is good; without it, for ever.")] = None,
) -> None:
    """Make a token, in place of an earlier one of that name. It is printed once and kept nowhere."""
    _check_role(role)
    url = load(settings.load, config).database
    typer.echo(add_token(url, name=name, enterprise=enterprise, role=role, hours=hours))


@user.command()
def add(
    config: Config,
    name: Annotated[str, typer.Argument(help="The name to log in with.")],
    enterprise: Enterprise,
    role: RoleName = "viewer",
    password_file: PasswordFile = None,
) -> None:
    """Enter a user."""
    _check_role(role)
    url = load(settings.load, config).database
    secret = _password(password_file)
    add_user(url, name=name, enterprise=enterprise, role=role, password=secret)
    console.print(f"entered {name} ({role}) of {enterprise}")


@user.command()
def password(
    config: Config,
    name: Annotated[str, typer.Argument(help="The name to log in with.")],
    enterprise: Enterprise,
    password_file: PasswordFile = None,
) -> None:
    """Give a user a new password; its sessions end."""
    url = load(settings.load, config).database
    secret = _password(password_file)
    _change(url, lambda db: people.set_password(db, _COMMAND_LINE, enterprise=enterprise, name=name, password=secret))
    console.print(f"changed the password of {name}")


@user.command(name="list")
def list_users(config: Config, enterprise: Enterprise) -> None:
    """All users of an enterprise."""
    url = load(settings.load, config).database
    table = Table("name", "role", "disabled", "last log-in (UTC)")
    for one in _change(url, lambda db: people.users(db, enterprise)):
        table.add_row(one["name"], one["role"], "yes" if one["disabled"] else "", _time(one["seen_ms"]))
    console.print(table)


def _time(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")


def add_token(database: str, *, name: str, enterprise: str, role: str, hours: float | None) -> str:
    """Enter a new token in a database (SQLAlchemy URL), in place of an earlier one of that name; returns its secret."""
    secret, _ = _change(
        database,
        lambda db: tokens.create(
            db, _COMMAND_LINE, enterprise=enterprise, name=name, role=_role(role), hours=hours, replace=True
        ),
    )
    return secret


def add_user(database: str, *, name: str, enterprise: str, role: str, password: str, replace: bool = False) -> None:
    """Enter a user in a database (SQLAlchemy URL). `replace`: one that is there gets this role and password."""

    def work(db: Connection) -> None:
        known = any(one["name"] == name for one in people.users(db, enterprise))
        given = {"enterprise": enterprise, "name": name, "password": password}
        if known and replace:
            people.change_user(db, _COMMAND_LINE, role=_role(role), disabled=False, **given)
        else:
            people.create_user(db, _COMMAND_LINE, role=_role(role), **given)

    _change(database, work)


def _change(url: str, work: Callable[[Connection], T]) -> T:
    try:
        database = open_database(url)
        try:
            with database.begin() as db:
                return work(db)
        finally:
            database.dispose()
    except (ApiError, SQLAlchemyError) as error:
        raise fail(error.en if isinstance(error, ApiError) else str(error)) from error


def _password(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    return str(typer.prompt("password", hide_input=True, confirmation_prompt=True))


def _role(role: str) -> auth.Role:
    return next(one for one in auth.ROLES if one == role)


def _check_role(role: str) -> None:
    if role not in auth.ROLES:
        raise fail(f"--role: one of {', '.join(auth.ROLES)}")
