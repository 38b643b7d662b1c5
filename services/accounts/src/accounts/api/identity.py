"""Who calls: on top of a good token, its session or API key must still be live, as this service knows best."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from accounts.parts import Parts
from accounts.storage.api_keys import is_key_live
from accounts.storage.sessions import is_session_live
from accounts.usecases.end_session import session_revoked
from common.auth.claims import UserClaims
from common.auth.service_tokens import refused
from common.http.identity import check_scope, check_session, current_user


def parts_of(request: Request) -> Parts:
    """Return the wired parts."""
    parts: Parts = request.app.state.parts
    return parts


WiredParts = Annotated[Parts, Depends(parts_of)]


async def live_user(parts: WiredParts, claims: Annotated[UserClaims, Depends(current_user)]) -> UserClaims:
    """Return the caller's claims; Problem 401 `session_revoked` or `invalid_api_key` once the session or key was ended."""
    async with parts.database.read() as connection:
        if claims.api_key_id is not None:
            live = await is_key_live(connection, _id(claims.api_key_id))
        else:
            live = claims.session_id is not None and await is_session_live(connection, _id(claims.session_id))
    if live:
        return claims
    if claims.api_key_id is not None:
        raise refused("invalid_api_key", "The API key is unknown, revoked or expired.")
    raise session_revoked()


LiveUser = Annotated[UserClaims, Depends(live_user)]


async def person(claims: LiveUser) -> UserClaims:
    """Return the claims of a logged-in person; Problem 403 `session_required` for an API key, whatever its scopes."""
    check_session(claims)
    return claims


Person = Annotated[UserClaims, Depends(person)]


def live_user_with(scope: str) -> Callable[..., Awaitable[UserClaims]]:
    """Return a dependency like `live_user` that refuses 403 `insufficient_scope` without the right."""

    async def scoped(claims: LiveUser) -> UserClaims:
        check_scope(claims, scope)
        return claims

    return scoped


def session_id_of(claims: UserClaims) -> UUID:
    """Return the session of a person's claims."""
    return _id(claims.session_id or "")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise refused("invalid_token", "The access token is not one of this system.") from None
