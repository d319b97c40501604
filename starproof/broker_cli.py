"""`starproof broker`."""

from pathlib import Path
from typing import Annotated

import typer

from starproof import broker
from telemetry import settings
from telemetry.commands import fail, load

app = typer.Typer()


@app.callback(invoke_without_command=True)
def run(config: Annotated[Path, typer.Argument(help="The broker's YAML file: host, port, max_payload_bytes.")]) -> None:
    """Run the embedded MQTT 5 broker until it is told to stop. For the demo and tests: it has no access control and keeps
    nothing. A plant uses mosquitto, EMQX or another MQTT 5 broker. 内置消息代理，仅供演示与测试。"""
    loaded = load(lambda path: settings.load(path, broker.BrokerFile), config)
    try:
        broker.run(loaded)
    except OSError as error:
        raise fail(str(error)) from error
