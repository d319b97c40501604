"""From settings and dictionary to drivers."""

from collections.abc import Sequence
from pathlib import Path

from edge_agent.drivers.base import Driver, Emit, OnLink, OnNameplate, Outlet, quiet_libraries
from edge_agent.drivers.modbus import ModbusDriver
from edge_agent.drivers.opcua import OpcUaDriver
from edge_agent.settings import AgentSettings, Device
from telemetry.dictionary import Dictionary
from telemetry.points import ModbusConnection, OpcUaConnection, OpcUaPoint


def make_drivers(
    settings: AgentSettings,
    dictionary: Dictionary,
    *,
    emit: Emit,
    on_link: OnLink = lambda uid, state, detail: None,
    on_nameplate: OnNameplate = lambda uid, nameplate: None,
) -> Sequence[Driver]:
    """One driver a device, in the order of the settings. Nothing is connected before `run`. Needs a running loop only
    from then on. The dictionary may be replaced later by one with other nameplates: tag numbers stay."""
    quiet_libraries()
    drivers: list[Driver] = []
    for device, spec in zip(settings.devices, dictionary.devices, strict=True):
        outlet = Outlet(
            uid=device.uid,
            base=dictionary.first_number(device.uid),
            tags=spec.tags,
            emit=emit,
            on_link=on_link,
            on_nameplate=on_nameplate,
        )
        drivers.append(_driver(outlet, device, settings))
    return drivers


def _driver(outlet: Outlet, device: Device, settings: AgentSettings) -> Driver:
    connection = device.connection
    if isinstance(connection, ModbusConnection):
        return ModbusDriver(outlet, connection, [p for p in device.points if not isinstance(p, OpcUaPoint)])
    nodes = [p for p in device.points if isinstance(p, OpcUaPoint)]
    return OpcUaDriver(
        outlet,
        _with_own_certificate(connection, settings.state_dir),
        nodes,
        application_uri=f"urn:starproof:edge:{settings.edge}",
    )


def _with_own_certificate(connection: OpcUaConnection, state_dir: Path) -> OpcUaConnection:
    """The agent is one application with one certificate, kept in its state folder, unless the file names another."""
    if connection.certificate is not None:
        return connection
    own = state_dir / "opcua"
    return connection.model_copy(
        update={"certificate": str(own / "certificate.der"), "private_key": str(own / "private_key.pem")}
    )
