"""Sends a form's wish to cloud's API within the process, as the page's own caller: the same route, the same permission,
the same audit. The form's `csrf` field becomes the API's X-CSRF-Token.
"""

from typing import Any

import orjson
from fastapi import Request

from dashboards import api


async def send(request: Request, method: str, path: str, body: Any = None, *, csrf: str = "") -> dict[str, Any]:
    """The JSON answer to `method` `path` (below the API's base). Raises ApiError with whatever the API refused."""
    data = orjson.dumps(body) if body is not None else b""
    headers = (
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (b"x-csrf-token", csrf.encode("latin-1", "replace")),
    )
    return api.opened(*await api.call(request, method, path, data=data, headers=headers))
