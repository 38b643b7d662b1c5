"""Every refusal and failure as `application/problem+json` (RFC 9457), without echoing input or leaking details."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from common.database.failures import is_database_away, is_database_busy
from common.errors import FieldError, Problem, Transient
from common.http.json_response import PROBLEM_TYPE, json_response
from common.http.request_id import request_id_of

MAX_FIELD_ERRORS = 50
MAX_FIELD_CHARS = 200

log = structlog.get_logger(__name__)

_STATUS_CODES: Mapping[int, tuple[str, str]] = {
    400: ("invalid_body", "The body cannot be read as JSON."),
    401: ("unauthorized", "Authentication is required."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("body_too_large", "The body is larger than allowed here."),
    415: ("unsupported_media_type", "The body must be JSON."),
}
_BODY_TYPE_ERRORS = {"model_attributes_type", "dict_type", "model_type", "dataclass_type", "list_type", "dict_attributes_type"}


def problem_response(problem: Problem, request_id: str | None) -> Response:
    """Return the HTTP response of a problem."""
    return json_response(problem.to_body(request_id), status=problem.status, headers=problem.headers, media_type=PROBLEM_TYPE)


def internal_error() -> Problem:
    """Return what a client is told when something unexpected happened: nothing but the request id to quote."""
    return Problem(
        500,
        "internal_error",
        "Something went wrong on our side.",
        hint="Quote the request_id when you report this.",
    )


def unavailable(retry_after: float | None = None) -> Problem:
    """Return 503 `service_unavailable` for a passing failure of something this service needs."""
    seconds = max(1, round(retry_after or 1))
    return Problem(
        503,
        "service_unavailable",
        "A part of the system is not available at the moment.",
        hint=f"Try again in {seconds} seconds.",
        headers={"Retry-After": str(seconds)},
    )


def problem_from_body(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the Problem another service answered with; unknown members are kept in `extra`."""
    members: dict[str, Any] = body if isinstance(body, dict) else {}
    errors = [
        FieldError(str(e.get("field", "")), str(e.get("code", "invalid")), str(e.get("message", "")), e.get("hint"))
        for e in members.get("errors") or []
        if isinstance(e, dict)
    ]
    known = {"type", "title", "status", "detail", "code", "request_id", "hint", "errors"}
    return Problem(
        status,
        str(members.get("code") or "error"),
        str(members.get("detail") or "The request was refused."),
        title=members.get("title"),
        hint=members.get("hint"),
        errors=errors,
        headers=headers,
        extra={key: value for key, value in members.items() if key not in known},
    )


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Turn pydantic's errors into field errors: dotted path, machine code, sentence; input values are left out."""
    return [
        FieldError(_field_path(error.get("loc", ())), str(error["type"]), _message(error))
        for error in errors[:MAX_FIELD_ERRORS]
    ]


def _field_path(loc: Sequence[Any]) -> str:
    parts = [str(part) for part in loc]
    if parts and parts[0] in {"body", "query", "path", "header", "cookie"}:
        parts = parts[1:] or parts[:1]
    text = ".".join(parts).encode("utf-8", "replace").decode()
    return text[:MAX_FIELD_CHARS].replace("\x00", "")


def _message(error: Mapping[str, Any]) -> str:
    text = str(error.get("msg", "is not valid")).removeprefix("Value error, ")
    return text.encode("utf-8", "replace").decode()


def validation_problem(error: RequestValidationError, content_type: str) -> Problem:
    """Return 404 for a malformed id in the path, 415 for a body that is not JSON, else 422 `invalid_request`."""
    errors = error.errors()
    if any(item["loc"][:1] == ("path",) for item in errors):
        return Problem(404, *_STATUS_CODES[404])
    whole_body = any(tuple(item["loc"]) == ("body",) and item["type"] in _BODY_TYPE_ERRORS for item in errors)
    if whole_body and "json" not in content_type.lower():
        code, detail = _STATUS_CODES[415]
        return Problem(415, code, detail, hint="Send the header Content-Type: application/json.")
    if any(item["type"] == "json_invalid" for item in errors):
        invalid = FieldError("body", "json_invalid", "The body is not valid JSON.")
        return Problem(422, "invalid_request", "The body is not valid JSON.", errors=[invalid])
    return Problem(422, "invalid_request", "The request is not valid.", errors=field_errors(errors))


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class only
    return problem_response(error, request_id_of(request))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    return problem_response(validation_problem(error, request.headers.get("content-type", "")), request_id_of(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    code, detail = _STATUS_CODES.get(error.status_code, ("error", "The request was refused."))
    if error.status_code in {204, 304}:
        return Response(status_code=error.status_code, headers=error.headers)
    return problem_response(Problem(error.status_code, code, detail, headers=error.headers), request_id_of(request))


async def _on_passing_failure(request: Request, error: Exception) -> Response:
    log.warning("request_failed_for_now", kind=type(error).__name__, reason=str(error))
    retry_after = error.retry_after if isinstance(error, Transient) else None
    return problem_response(unavailable(retry_after), request_id_of(request))


async def _on_database_error(request: Request, error: Exception) -> Response:
    if isinstance(error, OperationalError | InterfaceError) or is_database_away(error) or is_database_busy(error):
        return await _on_passing_failure(request, error)
    raise error


def install_problem_handlers(app: FastAPI) -> None:
    """Make the app answer every refusal as a problem; what is left unexpected is for the request middleware."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in (Transient, ConnectionError, TimeoutError, PoolTimeoutError):
        app.add_exception_handler(kind, _on_passing_failure)
    app.add_exception_handler(DBAPIError, _on_database_error)
