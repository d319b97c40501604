"""`starproof edge`: enrol an agent and run it."""

from pathlib import Path
from typing import Annotated

import typer

from edge_agent import enrol, settings
from telemetry import enrolment, service
from telemetry.commands import console, fail, load
from telemetry.enrolment import EnrolmentError
from telemetry.keys import KeyFileError
from telemetry.mqtt import BrokerRefused

app = typer.Typer(no_args_is_help=True, help="The agent at the machines: reads them, sends their values up. 边缘代理")
Config = Annotated[Path, typer.Argument(help="The agent's YAML file.", exists=True, dir_okay=False)]


@app.command()
def run(
    config: Config,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the agent until it is told to stop. It reconnects to machines and broker by itself, for ever."""
    loaded = load(settings.load, config)
    from edge_agent.agent import Agent
    from edge_agent.framing import DictionaryTooLarge
    from edge_agent.outbox import OutboxError
    from edge_agent.state_lock import AlreadyRunning

    async def main() -> None:
        await Agent(loaded).run()

    try:
        service.run(main, log_level=log_level)
    except (
        AlreadyRunning,
        BrokerRefused,
        DictionaryTooLarge,
        EnrolmentError,
        KeyFileError,
        OutboxError,
    ) as error:
        raise fail(str(error)) from error


@app.command()
def init(
    config: Config,
    request: Annotated[Path, typer.Option(help="Where to write the enrolment request.")] = Path(
        "enrolment-request.json"
    ),
) -> None:
    """Make this edge's key and an enrolment request for the cloud's administrator.

    Take the request file and, separately, the one-time code to the administrator. He approves with
    `starproof ingest approve` and gives back a grant; enter it here with `starproof edge pin`.
    """
    loaded = load(settings.load, config)
    message, code, fingerprint = enrol.make_request(loaded)
    enrolment.write(message, request)
    console.print(f"request      {request}")
    console.print(f"fingerprint  {fingerprint}")
    typer.echo(f"one-time code  {code}")


@app.command()
def pin(
    config: Config,
    grant: Annotated[Path, typer.Argument(help="The grant file from the administrator.", exists=True)],
    code: Annotated[str, typer.Option(prompt=True, help="The one-time code that `edge init` printed.")],
) -> None:
    """Check the cloud's grant against the one-time code and pin the cloud's keys."""
    loaded = load(settings.load, config)
    try:
        enrol.pin(loaded, grant, code)
    except EnrolmentError as error:
        raise fail(str(error)) from error
    console.print(f"the cloud's keys are pinned in {loaded.cloud_keys}")
