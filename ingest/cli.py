"""`starproof ingest`: run a worker, and keep the register of edge keys."""

from pathlib import Path
from typing import Annotated

import typer

from ingest import register, settings
from ingest.tables import connect
from telemetry import clock, enrolment, keys, service
from telemetry.commands import console, fail, load
from telemetry.enrolment import EnrolmentError, Request
from telemetry.keys import KeyFileError
from telemetry.messages import Certificate
from telemetry.mqtt import BrokerRefused
from telemetry.topics import Address

app = typer.Typer(
    no_args_is_help=True, help="The cloud's entrance: checks sealed frames and commits them to the ledger. 入库"
)
Config = Annotated[Path, typer.Argument(help="Ingest's YAML file.", exists=True, dir_okay=False)]


@app.command()
def run(
    config: Config,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run one ingest worker until it is told to stop."""
    loaded = load(settings.load, config)
    from ingest.ledger import LedgerError
    from ingest.shards import LeaseHeld
    from ingest.worker import Worker

    async def main() -> None:
        await Worker(loaded).run()

    try:
        service.run(main, log_level=log_level)
    except (KeyFileError, BrokerRefused, LeaseHeld, LedgerError) as error:
        raise fail(str(error)) from error


@app.command()
def approve(
    config: Config,
    request: Annotated[Path, typer.Argument(help="The edge's enrolment request.", exists=True)],
    code: Annotated[str, typer.Option(prompt=True, help="The one-time code that the edge's screen showed.")],
    grant: Annotated[Path, typer.Option(help="Where to write the grant for the edge.")] = Path("enrolment-grant.json"),
) -> None:
    """Approve an edge: enter its key in the register and write the grant that it pins."""
    loaded = load(settings.load, config)
    try:
        asked = enrolment.read(request, Request)
        register.ensure_keys(loaded.keys)
        register.approve(connect(loaded.database), asked, code)
        given = register.grant(
            asked,
            code,
            receipt=keys.load_signing_key(loaded.keys / "receipt.pem").public,
            command=keys.load_signing_key(loaded.keys / "command.pem").public,
            exchange=keys.exchange_public(keys.load_exchange_key(loaded.keys / "exchange.pem")),
        )
    except (EnrolmentError, KeyFileError) as error:
        raise fail(str(error)) from error
    enrolment.write(given, grant)
    console.print(f"approved     {asked.enterprise}/{asked.edge}")
    console.print(f"fingerprint  {keys.fingerprint(keys.from_text(asked.public_key))}")
    console.print(f"grant        {grant}")


@app.command()
def revoke(config: Config, enterprise: str, edge: str) -> None:
    """End an edge's key: from now on nothing that it signs is taken."""
    if not register.revoke(connect(load(settings.load, config).database), Address(enterprise, edge)):
        raise fail(f"there is no edge {enterprise}/{edge}")
    console.print(f"revoked {enterprise}/{edge}")


@app.command()
def certify(
    config: Config,
    public_key: Annotated[str, typer.Argument(help="The inspector's public key (base64).")],
    enterprise: Annotated[str, typer.Option(help="The enterprise that may be inspected.")],
    name: Annotated[str, typer.Option(help="The inspector's name.")],
    hours: Annotated[float, typer.Option(min=0.1, max=72, help="How long the certificate is good.")] = 8,
    output: Annotated[Path, typer.Option(help="Where to write the certificate.")] = Path("inspector.cert"),
) -> None:
    """Certify an inspector's key for some hours, so that edges answer his challenges."""
    loaded = load(settings.load, config)
    try:
        register.ensure_keys(loaded.keys)
        signer = keys.load_signing_key(loaded.keys / "command.pem")
        now = clock.now_ms()
        certificate = Certificate(
            public=keys.from_text(public_key),
            name=name,
            enterprise=enterprise,
            not_before_ms=now - 60_000,
            not_after_ms=now + int(hours * 3_600_000),
        )
    except KeyFileError as error:
        raise fail(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(certificate.sign(signer, Certificate.TOPIC))
    console.print(f"certificate  {output}, good for {hours:g} h")
