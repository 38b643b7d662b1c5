"""The shapes of TikTok's answers: API envelope, flat OAuth errors, bare upload answers."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from tiktok_simulator.identifiers import log_id
from tiktok_simulator.paths import CREATOR_INFO

STATUS_OF_CODE = {
    "invalid_param": 400,
    "invalid_params": 400,
    "app_version_check_failed": 400,
    "invalid_publish_id": 400,
    "token_not_authorized_for_specified_publish_id": 400,
    "publish_not_cancellable": 400,
    "scope_permission_missed": 400,
    "invalid_file_upload": 400,
    "access_token_invalid": 401,
    "scope_not_authorized": 401,
    "rate_limit_exceeded": 429,
    "internal_error": 500,
}
_INSIDE_200 = frozenset({"spam_risk_too_many_posts", "spam_risk_user_banned_from_posting", "reached_active_user_cap"})


class ApiError(Exception):
    """A refusal in the API envelope; without a status it gets the one TikTok documents for the code."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.status = status


class OAuthError(Exception):
    """A refusal in the flat shape of the OAuth endpoints."""

    def __init__(self, error: str, description: str, status: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


class UploadError(Exception):
    """A refusal of a chunk: a status and nothing else TikTok documents."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def ok(data: dict[str, Any] | None) -> JSONResponse:
    """Return a successful envelope, without ``data`` for None."""
    error = {"code": "ok", "message": "", "log_id": log_id()}
    return JSONResponse({"error": error} if data is None else {"data": data, "error": error})


def status_of(code: str, path: str) -> int:
    """Return the HTTP status TikTok gives a code on this path; caps on creator info come with 200."""
    if path == CREATOR_INFO and code in _INSIDE_200:
        return 200
    return STATUS_OF_CODE.get(code, 403)


def api_error(request: Request, error: Exception) -> Response:
    """Render an ApiError."""
    if not isinstance(error, ApiError):
        raise error
    status = error.status or status_of(error.code, request.url.path)
    settings = request.app.state.settings
    code = settings.invalid_param_code if error.code == "invalid_params" else error.code
    request.app.state.simulator.stats.refuse(request.url.path, code)
    answer = envelope_error(status, code, error.message)
    if status == 429 and settings.retry_after:
        answer.headers["Retry-After"] = "60"
    return answer


def envelope_error(status: int, code: str, message: str) -> Response:
    """Return a refusal as envelope."""
    return JSONResponse({"data": {}, "error": {"code": code, "message": message, "log_id": log_id()}}, status_code=status)


def oauth_error(request: Request, error: Exception) -> Response:
    """Render an OAuthError with the status the settings choose."""
    if not isinstance(error, OAuthError):
        raise error
    status = error.status or request.app.state.settings.oauth_error_status
    request.app.state.simulator.stats.refuse(request.url.path, error.error)
    return flat_error(status, error.error, error.description)


def flat_error(status: int, error: str, description: str) -> Response:
    """Return a refusal in the flat shape."""
    return JSONResponse(
        {"error": error, "error_description": description, "log_id": log_id()},
        status_code=status,
        headers={"Cache-Control": "no-store"},
    )


def upload_error(_: Request, error: Exception) -> Response:
    """Render an UploadError."""
    if not isinstance(error, UploadError):
        raise error
    return JSONResponse({"message": error.message}, status_code=error.status)


def nobody_waits(_: Request, __: Exception) -> Response:
    """Answer a request whose peer went away before its body was whole: it had no effect, and nobody hears of it."""
    return Response(status_code=408)
