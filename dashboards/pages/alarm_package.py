"""What a page shows of an alarm's package: its manifest and its picture, out of the zip."""

import io
import json
import zipfile
import zlib
from typing import Any

_MOST = 8 << 20  # of one file in the zip: a page shows no more, whatever it says it is


def file_of(package: bytes, name: str) -> bytes | None:
    """A file of the package; None if it has none of this name, or the package cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            info = archive.getinfo(name)
            return archive.read(info) if info.file_size <= _MOST else None
    except (zipfile.BadZipFile, KeyError, RuntimeError, zlib.error, OSError):
        return None


def manifest_of(package: bytes) -> dict[str, Any] | None:
    """The package's manifest; None if it cannot be read."""
    data = file_of(package, "manifest.json")
    try:
        found = json.loads(data) if data is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]
