"""The embedded MQTT 5 broker (rumqttd, in the wheel `iotcore`): for the demo and for tests.

It has no access control list and forgets everything when it stops, so nothing may rest on either; a plant uses mosquitto,
EMQX or another MQTT 5 broker instead.
"""

import os
import sys
import tempfile
from pathlib import Path

from iotcore import IotCoreBroker
from pydantic import Field

from telemetry.points import Strict
from telemetry.seal import MAX_SEALED


class BrokerFile(Strict):
    """broker.yaml."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    max_payload_bytes: int = Field(default=MAX_SEALED + (64 << 10), ge=1024)


_TOML = """
id = 0

[router]
id = 0
max_connections = 2048
max_outgoing_packet_count = 1000
max_segment_size = 104857600
max_segment_count = 4

[v5.1]
name = "mqtt5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = {max_payload_bytes}
max_inflight_count = 200
"""


def run(settings: BrokerFile) -> None:
    """Run until the process ends. Raises OSError if the port is taken."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(_TOML.format(**settings.model_dump()))
    try:
        broker = IotCoreBroker(config_path=file.name)
        broker.check_ports()
        with open(os.devnull, "wb") as nowhere:  # it logs every packet, whatever it is told
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere.fileno(), stream.fileno())
        broker.run_forever()
    finally:
        Path(file.name).unlink(missing_ok=True)
