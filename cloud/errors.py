"""Errors of the HTTP API: {"error": {"code", "zh", "en"}}, and which of the house's exceptions mean what to a caller."""

from typing import Any, cast

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ingest.historian.base import HistorianError, HistorianUnavailable
from ingest.ledger import LedgerError, LedgerMissing

_log = structlog.get_logger(__name__)


class ApiError(Exception):
    """Something a caller must be told. `code` is for programs, `zh` and `en` for people."""

    def __init__(self, status: int, code: str, zh: str, en: str) -> None:
        super().__init__(f"{status} {code}: {en}")
        self.status, self.code, self.zh, self.en = status, code, zh, en

    def body(self) -> dict[str, Any]:
        """The answer's body."""
        return {"error": {"code": self.code, "zh": self.zh, "en": self.en}}


class ErrorText(BaseModel):
    """What went wrong: for programs, and for people in two languages."""

    code: str
    zh: str
    en: str


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: ErrorText


_MEANING = {
    400: "a parameter or the body cannot be used",
    401: "no token or session, or one that has ended",
    403: "the role may not do this, or the CSRF token is missing",
    404: "there is no such thing, or it is another enterprise's",
    405: "this method is not allowed here",
    409: "it cannot be done as things are",
    413: "the body is too large",
    422: "the body cannot be used",
    429: "too many attempts",
    500: "internal error",
    502: "the historian refused the question",
    503: "historian or ledger cannot be reached now",
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": text} for status, text in _MEANING.items()
}


class Json(Response):
    """JSON by orjson: no NaN, integers of 64 bits as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def respond(error: ApiError) -> Response:
    """An error as an answer."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return Json(error.body(), status_code=error.status, headers=headers)


def invalid(name: str, zh: str, en: str) -> ApiError:
    """A parameter that cannot be used."""
    return ApiError(400, "invalid_parameter", f"参数 {name}：{zh}", f"parameter {name}: {en}")


def translate(error: Exception) -> ApiError:
    """What an exception means to a caller."""
    match error:
        case ApiError():
            return error
        case RequestValidationError():
            first = cast(dict[str, Any], error.errors()[0])
            name = str(first["loc"][-1])
            return invalid(name, f"无法使用（{first['msg']}）", f"{first['msg']}")
        case HistorianUnavailable():
            return ApiError(503, "historian_unavailable", "历史库暂时不可用", "the historian cannot be reached now")
        case HistorianError():
            return ApiError(502, "historian_refused", "历史库拒绝了查询", "the historian refused the question")
        case LedgerMissing():
            return ApiError(404, "not_in_ledger", "账本中没有该条目", "the ledger has no such entry")
        case LedgerError():
            return ApiError(503, "ledger_unavailable", "账本暂时不可读", "the ledger cannot be read now")
        case HTTPException(status_code=404):
            return ApiError(404, "not_found", "没有该地址", "no such address")
        case HTTPException(status_code=405):
            return ApiError(405, "method_not_allowed", "不支持该方法", "this method is not allowed here")
        case HTTPException():
            return ApiError(error.status_code, "refused", "请求被拒绝", str(error.detail))
        case _:
            return ApiError(500, "internal", "内部错误", "internal error")


def install(app: FastAPI) -> None:
    """Make an application answer all errors in this shape."""

    def handle(request: Request, error: Exception) -> Response:
        told = translate(error)
        if told.status >= 500:
            _log.error("request failed", path=request.url.path, code=told.code, reason=str(error))
        return respond(told)

    for kind in (ApiError, RequestValidationError, HTTPException, HistorianError, LedgerError, Exception):
        app.add_exception_handler(kind, handle)
