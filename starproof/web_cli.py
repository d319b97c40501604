"""`starproof web` with the pages: the API itself knows nothing of them."""

import typer

from cloud import cli as cloud_cli
from cloud import settings
from cloud.cli import Config
from telemetry.commands import fail, load
from telemetry.keys import KeyFileError
from telemetry.mqtt import BrokerRefused
from telemetry.settings import SettingsError

app = typer.Typer(no_args_is_help=True, help=cloud_cli.app.info.help)


@app.command()
def run(config: Config) -> None:
    """Serve the API and the pages until told to stop."""
    loaded = load(settings.load, config)
    from sqlalchemy.exc import SQLAlchemyError

    from cloud import web
    from dashboards.app import extend

    try:
        web.run(loaded, lambda application: extend(application, loaded))
    except (SettingsError, BrokerRefused, KeyFileError, OSError, SQLAlchemyError) as error:
        raise fail(str(error)) from error


app.registered_commands += [one for one in cloud_cli.app.registered_commands if one.callback is not cloud_cli.run]
app.registered_groups += cloud_cli.app.registered_groups
