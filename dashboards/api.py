"""Asks cloud's API within the process, as the page's own caller: the same route, the same permission, the same answer."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from fastapi import Request
from starlette.types import Message

from cloud.app import BASE
from cloud.errors import ApiError

_PASSED_ON = (b"cookie", b"authorization", b"host")
_LEFT_OUT = ("route", "endpoint", "path_params", "router", "fastapi_inner_astack", "fastapi_function_astack")


async def get(request: Request, path: str, **params: Any) -> dict[str, Any]:
    """The JSON answer to GET `path` (below the API's base). A parameter None is left out; `from_` stands for from; a list
    is repeated. Raises ApiError with whatever the API refused."""
    return opened(*await raw(request, path, **params))


async def raw(request: Request, path: str, **params: Any) -> tuple[int, bytes]:
    """Status and body of GET `path`."""
    query = urlencode(
        [(name.rstrip("_"), _text(value)) for name, some in params.items() for value in _each(some)], safe=":"
    )
    return await call(request, "GET", path, query=query)


async def call(
    request: Request,
    method: str,
    path: str,
    *,
    query: str = "",
    data: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> tuple[int, bytes]:
    """Status and body of a request to the API within the process; `headers` beside those of the caller that say who it is."""
    where = f"{BASE}{path}"
    scope = {
        **request.scope,
        "method": method,
        "path": where,
        "raw_path": quote(where).encode(),
        "query_string": query.encode(),
        "headers": [*(one for one in request.scope["headers"] if one[0] in _PASSED_ON), *headers],
        "root_path": "",
        "state": {},
    }
    for key in _LEFT_OUT:
        scope.pop(key, None)
    status, parts, told = 500, list[bytes](), False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await request.app(scope, receive, send)
    return status, b"".join(parts)


def opened(status: int, body: bytes) -> dict[str, Any]:
    """The JSON of an answer. Raises ApiError with whatever the API refused."""
    answer: Any = orjson.loads(body or b"{}")
    if status >= 400:
        error = answer.get("error", {})
        raise ApiError(status, error.get("code", "refused"), error.get("zh", "请求被拒绝"), error.get("en", "refused"))
    return answer


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
