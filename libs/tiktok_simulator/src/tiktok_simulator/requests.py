"""Reading requests the way TikTok does: bearer tokens with scopes and quotas, JSON bodies, forms."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

from tiktok_simulator.answers import ApiError, OAuthError
from tiktok_simulator.grants import AccessToken
from tiktok_simulator.personas import Creator
from tiktok_simulator.state import Simulator

_BODY_LIMIT = 1_000_000


async def body_of(request: Request) -> bytes | None:
    """Return the body, or None when it is larger than 1 MB."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > _BODY_LIMIT:
            return None
    return bytes(parts)


def authorized(simulator: Simulator, request: Request, any_scope: Iterable[str], bucket: str) -> tuple[AccessToken, Creator]:
    """Return the caller's token and creator, having checked token, scope and rate in this order.

    Raises ApiError ``access_token_invalid``, ``scope_not_authorized`` or ``rate_limit_exceeded``.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    token = simulator.grants.access(value.strip()) if scheme.lower() == "bearer" else None
    creator = simulator.creators.with_open_id(token.open_id) if token is not None else None
    if token is None or creator is None:
        raise ApiError(
            "access_token_invalid",
            "The access token is invalid or not found in the request.",
        )
    require_scope(token, *any_scope)
    if not simulator.quotas.admit(bucket, token.token):
        raise ApiError("rate_limit_exceeded", "The API rate limit was exceeded. Please try again later.")
    return token, creator


def require_scope(token: AccessToken, *any_scope: str) -> None:
    """Raise ApiError ``scope_not_authorized`` unless the token has one of the scopes."""
    if set(any_scope).isdisjoint(token.scopes):
        raise ApiError(
            "scope_not_authorized",
            "The user did not authorize the scope required for completing this request.",
        )


async def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object of a posting request; an empty body is an empty object.

    Raises ApiError ``invalid_params`` for another content type or anything but an object.
    """
    raw = await body_of(request)
    if raw is None:
        raise ApiError("invalid_params", "The request body is too large.")
    if not raw:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError("invalid_params", "The Content-Type must be application/json; charset=UTF-8.")
    try:
        parsed = json.loads(raw)
    except ValueError:
        raise ApiError("invalid_params", "The request body is not valid JSON.") from None
    if not isinstance(parsed, dict):
        raise ApiError("invalid_params", "The request body must be a JSON object.")
    return parsed


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of an OAuth form. Raises OAuthError ``invalid_request`` for anything but a proper form."""
    malformed = OAuthError("invalid_request", "The request parameters are malformed.")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await body_of(request)
    if raw is None or content_type != "application/x-www-form-urlencoded":
        raise malformed
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=50)
    except ValueError:
        raise malformed from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise malformed
    return fields
