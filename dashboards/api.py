"""Asks cloud's API within the process, as the page's own caller: the same route, the same permission, the same answer."""

from typing import Any
from urllib.parse import quote, urlencode

import orjson
from fastapi import Request
from starlette.types import Message

from cloud.app import BASE
from cloud.errors import ApiError

_PASSED_ON = (b"cookie", b"authorization", b"host")


async def get(request: Request, path: str, **params: Any) -> dict[str, Any]:
    """The JSON answer to GET `path` (below the API's base). A parameter None is left out; `from_` stands for from; a list
    is repeated. Raises ApiError with whatever the API refused."""
    status, body = await raw(request, path, **params)
    answer: Any = orjson.loads(body) if body else {}
    if status >= 400:
        error = answer.get("error", {})
        raise ApiError(status, error.get("code", "refused"), error.get("zh", "请求被拒绝"), error.get("en", "refused"))
    return answer


async def raw(request: Request, path: str, **params: Any) -> tuple[int, bytes]:
    """Status and body of GET `path`."""
    query = urlencode(
        [(name.rstrip("_"), _text(value)) for name, some in params.items() for value in _each(some)], safe=":"
    )
    where = f"{BASE}{path}"
    scope = {
        **request.scope,
        "method": "GET",
        "path": where,
        "raw_path": quote(where).encode(),
        "query_string": query.encode(),
        "headers": [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON],
        "root_path": "",
    }
    for key in ("route", "endpoint", "path_params", "router", "fastapi_inner_astack", "fastapi_function_astack"):
        scope.pop(key, None)
    scope["state"] = {}
    status, parts = 500, list[bytes]()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await request.app(scope, receive, send)
    return status, b"".join(parts)


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
