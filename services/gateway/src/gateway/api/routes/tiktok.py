"""Connecting a TikTok account (OAuth); codes and tokens go to accounts by HTTP only."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from gateway.api.callers import allowed, anonymous
from gateway.api.documents import NO_AUTHENTICATION, parameters, problems, query
from gateway.api.forwarding import forward
from gateway.api.models.auth import AuthorizationUrl, Connected
from gateway.clients.upstreams import SLOW_TIMEOUT_S
from gateway.edge import edge_of
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/tiktok", tags=["tiktok"])
CONNECT_COOKIES = "cuepost_connect_"
MAX_CONNECT_COOKIES = 10


@router.get(
    "/auth/url",
    response_model=AuthorizationUrl,
    responses=problems(401, 403),
    openapi_extra=parameters(
        query("return_url", "Where the browser goes afterwards; one of the allowed addresses."),
        query("browser", "Good only in the browser that gets this answer's cookie.", type="boolean", default=False),
    ),
)
async def authorization_url(request: Request, caller: Annotated[Caller, Depends(allowed("accounts:write"))]) -> Response:
    """Return where the creator allows access; good for one use within 10 minutes."""
    return await forward(request, "accounts", "/internal/tiktok/auth/url", caller=caller)


@router.get(
    "/callback",
    response_model=Connected,
    responses={**problems(400, 409), 302: {"description": "To the `return_url` that was asked for."}},
    openapi_extra=parameters(
        query("code", "From TikTok."),
        query("state", "From `/tiktok/auth/url`."),
        query("error", "Why TikTok gave no code."),
        query("error_type", "The kind of that error."),
        query("scopes", "What the creator allowed."),
    )
    | NO_AUTHENTICATION,
)
async def callback(request: Request, _: Annotated[None, Depends(anonymous)]) -> Response:
    """Take the creator's answer from TikTok; the state says whose account it becomes."""
    cookies, path = _connect_cookies(request), "/internal/tiktok/callback"
    async with edge_of(request).guesses.asking(request.state.client_ip) as refused:
        answer = await forward(request, "accounts", path, caller=None, timeout=SLOW_TIMEOUT_S, also=cookies)
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            await refused()
    return answer


def _connect_cookies(request: Request) -> dict[str, str]:
    """Return the header with the cookies that bind attempts to this browser, and with no other cookie."""
    found = [(name, value) for name, value in request.cookies.items() if name.startswith(CONNECT_COOKIES)]
    kept = [f"{name}={value}" for name, value in found[-MAX_CONNECT_COOKIES:] if f"{name}{value}".isascii()]
    return {"Cookie": "; ".join(kept)} if kept else {}
