"""The web service: services from settings, the live feed, and a uvicorn server around the application."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Callable, Generator

import structlog
import uvicorn
from fastapi import FastAPI

from cloud import fleet
from cloud.alarms.feed import AlarmFeed
from cloud.app import create_app
from cloud.devices import newest_rows
from cloud.live import LiveHub
from cloud.live_feed import LiveFeed
from cloud.schema import open_database
from cloud.services import Services
from cloud.settings import CloudSettings, ListenSettings
from ingest.catalogue import Catalogue
from ingest.historian.settings import open_historian
from ingest.ledger.reader import Reader
from telemetry import service
from telemetry.equipment import equipment_types
from telemetry.keys import load_exchange_key

_log = structlog.get_logger(__name__)

Extend = Callable[[FastAPI], None]

_WISH_BYTES = 1 << 20  # the largest message a live client may send


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own (the process has them), that says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    @property
    def port(self) -> int:
        """The port that is served, once started."""
        return int(self.servers[0].sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def open_services(settings: CloudSettings) -> AsyncGenerator[Services]:
    """Services as configured, live values flowing. Raises SettingsError, KeyFileError, OSError."""
    exchange_key = None if settings.exchange_key is None else load_exchange_key(settings.exchange_key)
    await asyncio.to_thread(equipment_types)  # reading them takes a moment, the first time: not while somebody waits
    engine = open_database(settings.database)
    historian = open_historian(settings.historian)
    hub = LiveHub(lambda enterprise, device: newest_rows(historian, enterprise, device))
    services = Services(
        database=engine,
        catalogue=Catalogue(engine),
        historian=historian,
        ledger=Reader(settings.ledger, **settings.ledger_options),
        hub=hub,
        grant_keys=settings.grant_keys,
        exchange_key=exchange_key,
    )
    register = asyncio.create_task(fleet.keep_synced(engine), name="register of machines")
    try:
        feed = LiveFeed(hub, settings.live_key).session(settings.broker, f"starproof-web-{os.urandom(6).hex()}")
        async with feed, AlarmFeed(engine, hub).running():
            yield services
    finally:
        register.cancel()
        await asyncio.wait((register,))
        await historian.close()
        engine.dispose()


@contextlib.asynccontextmanager
async def running(app: FastAPI, listen: ListenSettings) -> AsyncGenerator[Server]:
    """A server that is up for as long as the block lasts. Raises OSError if it cannot listen."""
    config = uvicorn.Config(
        app,
        host=listen.host,
        port=listen.port,
        ssl_certfile=listen.certificate,
        ssl_keyfile=listen.private_key,
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=_WISH_BYTES,
        timeout_graceful_shutdown=3,
    )
    server = Server(config)
    task = asyncio.create_task(_serve(server), name="http server")
    try:
        up = asyncio.create_task(server.up.wait(), name="http server up")
        await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if task.done():
            task.result()
            raise OSError(f"{listen.host}:{listen.port}: the server did not start")
        yield server
    finally:
        server.should_exit = True
        await asyncio.wait((task,))


async def _serve(server: Server) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # uvicorn's way to say that the address is taken
        raise OSError(f"{server.config.host}:{server.config.port} cannot be listened on") from error


async def serve(settings: CloudSettings, *extend: Extend) -> None:
    """Serve until cancelled. `extend` adds pages to the application."""
    async with open_services(settings) as services:
        app = create_app(services)
        for add in extend:
            add(app)
        async with running(app, settings.listen) as server:
            _log.info("web service is up", host=settings.listen.host, port=server.port)
            await asyncio.Event().wait()


def run(settings: CloudSettings, *extend: Extend) -> None:
    """Serve until the process is told to stop. Raises SettingsError, OSError."""
    service.run(lambda: serve(settings, *extend))
