"""Sends a form's wish to cloud's API within the process, as the page's own caller: the same route, the same permission,
the same audit. The form's `csrf` field becomes the API's X-CSRF-Token.
"""

from typing import Any
from urllib.parse import quote

import orjson
from fastapi import Request
from starlette.types import Message

from cloud.app import BASE
from cloud.errors import ApiError

_PASSED_ON = (b"cookie", b"authorization", b"host")
_LEFT_OUT = ("route", "endpoint", "path_params", "router", "fastapi_inner_astack", "fastapi_function_astack")


async def send(request: Request, method: str, path: str, body: Any = None, *, csrf: str = "") -> dict[str, Any]:
    """The JSON answer to `method` `path` (below the API's base). Raises ApiError with whatever the API refused."""
    data = orjson.dumps(body) if body is not None else b""
    headers = [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    headers += [(b"x-csrf-token", csrf.encode("latin-1", "replace"))]
    where = f"{BASE}{path}"
    scope = {
        **request.scope,
        "method": method,
        "path": where,
        "raw_path": quote(where).encode(),
        "query_string": b"",
        "headers": headers,
        "root_path": "",
        "state": {},
    }
    for key in _LEFT_OUT:
        scope.pop(key, None)
    status, parts, sent = 500, list[bytes](), False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": data, "more_body": False}

    async def answer(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await request.app(scope, receive, answer)
    found: Any = orjson.loads(b"".join(parts) or b"{}")
    if status >= 400:
        error = found.get("error", {})
        raise ApiError(status, error.get("code", "refused"), error.get("zh", "请求被拒绝"), error.get("en", "refused"))
    return found
