"""Files for the browser: our own modules and styles, and the libraries that the build has fetched."""

from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from telemetry.settings import SettingsError

FOLDER = Path(__file__).parent / "static"
VENDOR = ("vendor/htmx.min.js", "vendor/echarts.esm.min.js")


class AssetsMissing(SettingsError):
    """The browser's libraries are not there."""


def check(folder: Path = FOLDER) -> None:
    """Raises AssetsMissing, which says what to do."""
    missing = [name for name in VENDOR if not (folder / name).is_file()]
    if missing:
        raise AssetsMissing(
            [f"{folder / missing[0]} is missing: the build puts it there; in a source tree run `python hatch_build.py`"]
        )


class Static(StaticFiles):
    """Files that a browser may keep but asks about each time: after an update nobody sees an old module."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = "no-cache"
        return answer
