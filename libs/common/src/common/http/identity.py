"""FastAPI dependencies: who is calling, what they may do, and the context their changes carry."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Request

from common.auth.claims import UserClaims
from common.auth.service_tokens import ServiceTokenVerifier, refused
from common.auth.user_tokens import UserTokenVerifier
from common.contracts.context import Context
from common.errors import Problem
from common.http.request_id import request_id_of
from common.telemetry.tracing import current_traceparent

CLIENT_IP_HEADER = "X-Forwarded-Client-IP"
USER_AGENT_HEADER = "X-Forwarded-User-Agent"
MAX_USER_AGENT_CHARS = 500
MAX_IP_CHARS = 64


def bearer_token(request: Request) -> str:
    """Return the token of `Authorization: Bearer ...`; Problem 401 `unauthorized` when there is none or more than one header."""
    sent = request.headers.getlist("authorization")
    if len(sent) > 1:
        raise refused("unauthorized", "Send the Authorization header once.")
    scheme, _, token = "".join(sent).partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise refused("unauthorized", "Send an access token in the header: Authorization: Bearer <token>.")
    return token


async def current_user(request: Request) -> UserClaims:
    """Return the verified claims of the caller; Problem 401 `unauthorized`, `invalid_token` or `token_expired`."""
    verifier: UserTokenVerifier = request.app.state.user_tokens
    claims = await verifier.verify(bearer_token(request))
    remember_user(request, claims)
    return claims


def remember_user(request: Request, claims: UserClaims) -> None:
    """Make verified claims known to `request_context` and to the log lines of this request."""
    request.state.user = claims
    structlog.contextvars.bind_contextvars(user_id=str(claims.user_id))


def require_scope(scope: str) -> Callable[..., Awaitable[UserClaims]]:
    """Return a dependency that gives the caller's claims and refuses 403 `insufficient_scope` without the right."""

    async def claims_with_scope(claims: Annotated[UserClaims, Depends(current_user)]) -> UserClaims:
        check_scope(claims, scope)
        return claims

    return claims_with_scope


def check_scope(claims: UserClaims, scope: str) -> None:
    """Raise Problem 403 `insufficient_scope` unless the claims include `scope`."""
    if not claims.allows(scope):
        raise Problem(
            403,
            "insufficient_scope",
            f"This API key lacks the scope {scope}.",
            hint=f"Create an API key with the scope {scope}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


def check_session(claims: UserClaims) -> None:
    """Raise Problem 403 `session_required` for an API key: what makes and ends credentials takes a person's login.

    No scope stands for it, so none is named: a key that leaks must not make itself another, nor see or end its owner's.
    """
    if claims.session_id is None:
        raise Problem(
            403,
            "session_required",
            "This takes a person's session; an API key cannot do it, whatever its scopes.",
            hint="Log in with email and password. To end the key, revoke it with that login: DELETE /api/v1/auth/api-keys/{id}.",
            headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
        )


def caller(*services: str) -> Callable[[Request], Awaitable[str]]:
    """Return a dependency that gives the calling service's name and lets only `services` in (401, 403 otherwise)."""
    allowed = frozenset(services)

    async def calling_service(request: Request) -> str:
        verifier: ServiceTokenVerifier = request.app.state.service_tokens
        name = verifier.verify(bearer_token(request), allowed=allowed)
        request.state.calling_service = name
        return name

    return calling_service


def client_ip(request: Request) -> str | None:
    """Return the client's address: what the gateway decided, forwarded by it, or the socket's."""
    decided: str | None = getattr(request.state, "client_ip", None)
    if decided is not None:
        return decided
    forwarded = request.headers.get(CLIENT_IP_HEADER) if request.app.state.behind_gateway else None
    if forwarded:
        return forwarded[:MAX_IP_CHARS]
    return request.client.host if request.client is not None else None


def user_agent(request: Request) -> str | None:
    """Return the client's user agent, at most 500 characters."""
    name = USER_AGENT_HEADER if request.app.state.behind_gateway else "User-Agent"
    value = request.headers.get(name)
    return value[:MAX_USER_AGENT_CHARS] if value else None


def request_context(request: Request, *, user_id: UUID | None = None) -> Context:
    """Return the context of what this request causes.

    User and actor come from the verified token (`user:<id>`, `api_key:<id>`), or the calling service (`service:<name>`);
    `user_id` names the user where no token does (a login that just succeeded).
    """
    claims: UserClaims | None = getattr(request.state, "user", None)
    service: str | None = getattr(request.state, "calling_service", None)
    actor = f"service:{service}" if service else None
    if claims is not None:
        actor = claims.actor
    elif user_id is not None:
        actor = f"user:{user_id}"
    return Context(
        user_id=claims.user_id if claims is not None else user_id,
        actor=actor,
        client_ip=client_ip(request),
        user_agent=user_agent(request),
        correlation_id=request_id_of(request),
        traceparent=current_traceparent(),
    )


CurrentUser = Annotated[UserClaims, Depends(current_user)]
