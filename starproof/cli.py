"""The command line. Each service's commands live with the service and are loaded when they are asked for, so that an edge
installed without the cloud's libraries still has `starproof edge`.
"""

import importlib
import sys

import typer

from starproof import parent

_GROUPS = {
    "demo": ("starproof.demo.cli", "demo", "The whole plant on one machine, then its verification. 一键演示"),
    "broker": ("starproof.broker_cli", "demo", "The embedded MQTT broker, for the demo and tests. 内置消息代理"),
    "simulate": ("simulators.cli", "demo", "Simulated machines behind real protocols. 仿真设备"),
    "edge": ("edge_agent.cli", "edge", "The agent at the machines. 边缘代理"),
    "ingest": ("starproof.ingest_cli", "cloud", "The cloud's entrance and ledger. 入库"),
    "web": ("starproof.web_cli", "cloud", "The web app: pages and HTTP API. 网页与接口"),
    "verify": ("verifier.cli", "verify", "Confirm criteria from live evidence. 核验"),
}


def main() -> None:
    """Entry point of `starproof`."""
    parent.end_with_parent()
    asked = next((arg for arg in sys.argv[1:] if not arg.startswith("-")), None)
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Connects a factory's machines to the cloud and proves, from live evidence, that they really are connected. "
        "设备上云与现场核验。",
    )
    for name, (module, extra, summary) in _GROUPS.items():
        if name == asked:
            app.add_typer(_load(module, extra), name=name)
        else:
            app.add_typer(typer.Typer(), name=name, help=summary)
            app.registered_groups[-1].typer_instance.command()(_nothing)  # type: ignore[union-attr]
    app()


def _nothing() -> None:
    """A group that was not asked for."""


def _load(module: str, extra: str) -> typer.Typer:
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in (
            "starproof",
            "edge_agent",
            "ingest",
            "cloud",
            "verifier",
            "simulators",
        ):
            raise
        sys.exit(f"this command needs the package {error.name}: pip install 'starproof[{extra}]'")
    return loaded.app


if __name__ == "__main__":
    main()
