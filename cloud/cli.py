"""`starproof web`: serve the API, and hand out tokens."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, get_args

import typer
import yaml

from cloud import auth, settings
from telemetry import clock
from telemetry.commands import fail, load
from telemetry.mqtt import BrokerRefused
from telemetry.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True, help="The cloud's HTTP API: devices, values, history, ledger proofs, live. 云端接口"
)
Config = Annotated[Path, typer.Argument(help="The web service's YAML file.", exists=True, dir_okay=False)]


@app.command()
def run(config: Config) -> None:
    """Serve the API until told to stop."""
    loaded = load(settings.load, config)
    from cloud import web

    try:
        web.run(loaded)
    except (SettingsError, BrokerRefused, OSError) as error:
        raise fail(str(error)) from error


@app.command()
def token(
    config: Config,
    name: Annotated[str, typer.Option(help="Whose token it is.")],
    enterprise: Annotated[str, typer.Option(help="The only enterprise that it may see.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(get_args(auth.Role))}.")] = "viewer",
    hours: Annotated[float | None, typer.Option(min=0.1, help="How long it is good; without it, for ever.")] = None,
) -> None:
    """Make a token and enter its hash in the tokens file. The token itself is printed once and kept nowhere."""
    if role not in get_args(auth.Role):
        raise fail(f"--role: one of {', '.join(get_args(auth.Role))}")
    typer.echo(add_token(load(settings.load, config).tokens, name=name, enterprise=enterprise, role=role, hours=hours))


def add_token(path: Path, *, name: str, enterprise: str, role: str, hours: float | None) -> str:
    """Enter a new token's hash in a tokens file, in place of an earlier one of that name; returns the token."""
    known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    secret, digest = auth.new_token()
    entry = {"name": name, "enterprise": enterprise, "role": role, "sha256": digest}
    if hours is not None:
        until = datetime.fromtimestamp(clock.now_ms() / 1000 + hours * 3600, UTC)
        entry["expires"] = until.isoformat(timespec="seconds")
    others = [one for one in (known or {}).get("tokens", []) if one["name"] != name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"tokens": [*others, entry]}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return secret
