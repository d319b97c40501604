"""`starproof ingest` with the cloud's alarm engine beside the worker: ingest itself knows nothing of rules and notices."""

from typing import Annotated

import typer

from ingest import cli as ingest_cli
from ingest import settings
from ingest.cli import Config
from telemetry import service
from telemetry.commands import fail, load
from telemetry.keys import KeyFileError
from telemetry.mqtt import BrokerRefused

app = typer.Typer(no_args_is_help=True, help=ingest_cli.app.info.help)
for command in (ingest_cli.approve, ingest_cli.revoke, ingest_cli.certify):
    app.command()(command)


@app.command()
def run(
    config: Config,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run one ingest worker, alarms included, until it is told to stop."""
    loaded = load(settings.load, config)
    from ingest.ledger import LedgerError
    from ingest.shards import LeaseHeld
    from ingest.worker import Worker
    from starproof.alarm_wiring import wire

    async def main() -> None:
        if loaded.alarms.enabled:
            with wire(loaded) as (consumers, companions):
                await Worker(loaded, consumers, companions).run()
        else:
            await Worker(loaded).run()

    try:
        service.run(main, log_level=log_level)
    except (KeyFileError, BrokerRefused, LeaseHeld, LedgerError) as error:
        raise fail(str(error)) from error
