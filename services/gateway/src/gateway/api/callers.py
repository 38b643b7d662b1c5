"""FastAPI dependencies: who is calling, counted against their limits, with the right for the route."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request

from common.errors import Problem
from common.http.identity import (
    CLIENT_IP_HEADER,
    MAX_USER_AGENT_CHARS,
    USER_AGENT_HEADER,
    bearer_token,
    check_scope,
    check_session,
    remember_user,
    request_context,
)
from gateway.domain.client_address import client_address
from gateway.edge import edge_of
from gateway.security.authenticator import Caller, SessionRevoked
from gateway.security.rate_limit_headers import STATE_KEY
from gateway.security.rate_limits import Allowance


@dataclass(frozen=True, slots=True)
class Right:
    """What a route asks of its caller: a scope, or a person's own session, or (neither) any token."""

    scope: str | None = None
    session_only: bool = False


SESSION = "session"
"""Names the right that no scope stands for, in events."""

_RIGHTS: dict[Callable[..., Any], Right] = {}


def right_of(dependency: Callable[..., Any]) -> Right | None:
    """Return what a dependency of a route asks of the caller; None when it asks nothing."""
    return _RIGHTS.get(dependency)


def note_client(request: Request) -> str:
    """Decide on the client's address, remember it for this request and return it."""
    peer = request.client.host if request.client is not None else None
    address = client_address(peer, request.headers.getlist("x-forwarded-for"), edge_of(request).trusted_proxies)
    request.state.client_ip = address
    return address


def forwarded_headers(request: Request) -> dict[str, str]:
    """Return the headers that tell other services about the client; characters outside ASCII become `?`."""
    headers = {CLIENT_IP_HEADER: request.state.client_ip}
    agent = request.headers.get("user-agent", "")[:MAX_USER_AGENT_CHARS]
    if agent:
        headers[USER_AGENT_HEADER] = agent.encode("ascii", "replace").decode()
    return headers


def _count(request: Request, allowance: Allowance) -> None:
    if not allowance.allowed:
        raise allowance.refusal()
    setattr(request.state, STATE_KEY, allowance)


async def anonymous(request: Request) -> None:
    """Let anybody in; only notes the client's address."""
    note_client(request)


async def limited_by_address(request: Request) -> None:
    """Let anybody in who is within the limit of their address; Problem 429 `rate_limited` beyond it."""
    address = note_client(request)
    _count(request, await edge_of(request).rate_limits.hit_address(address))


async def signed_in(request: Request) -> Caller:
    """Return the verified caller, counted against the user's limit.

    Raises Problem 401 for a missing or bad token, 429 `rate_limited`, 503 while tokens cannot be checked.
    """
    note_client(request)
    edge = edge_of(request)
    try:
        caller = await _authenticated(request, bearer_token(request))
    except SessionRevoked as refusal:
        context = request_context(request, user_id=refusal.claims.user_id)
        edge.access_refusals.note_revoked(refusal.claims, _operation(request), context)
        raise
    remember_user(request, caller.claims)
    _count(request, await edge.rate_limits.hit_user(caller.claims.user_id))
    return caller


async def _authenticated(request: Request, bearer: str) -> Caller:
    edge, address = edge_of(request), request.state.client_ip
    if not edge.authenticator.would_ask(bearer, address):
        return await edge.authenticator.authenticate(bearer, forwarded_headers(request))
    async with edge.guesses.asking_in_turn(address) as refused:
        try:
            return await edge.authenticator.authenticate(bearer, forwarded_headers(request))
        except Problem as problem:
            if problem.status == HTTPStatus.UNAUTHORIZED:
                await refused()
            raise


def require(request: Request, caller: Caller, scope: str) -> None:
    """Raise Problem 403 `insufficient_scope` unless the caller has the right `scope`; that is told of, too."""
    try:
        check_scope(caller.claims, scope)
    except Problem:
        _note_refused(request, caller, scope)
        raise


def allowed(scope: str) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that lets in whoever has the right `scope`; 403 `insufficient_scope` otherwise."""

    async def with_scope(request: Request, caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
        require(request, caller, scope)
        return caller

    _RIGHTS[with_scope] = Right(scope=scope)
    return with_scope


async def person(request: Request, caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
    """Let in a person's session only: an API key must not make itself more rights. 403 `session_required` for a key."""
    try:
        check_session(caller.claims)
    except Problem:
        _note_refused(request, caller, SESSION)
        raise
    return caller


def _note_refused(request: Request, caller: Caller, right: str) -> None:
    """Have it told that the caller lacks a right."""
    edge_of(request).access_refusals.note(caller.claims, right, _operation(request), request_context(request))


def _operation(request: Request) -> str:
    """Return what was asked for, named by its route, not by what stood in the path."""
    path = getattr(request.scope.get("route"), "path", request.url.path)
    return f"{request.method} {path}"


_RIGHTS[signed_in] = Right()
_RIGHTS[person] = Right(session_only=True)
SignedIn = Annotated[Caller, Depends(signed_in)]
Person = Annotated[Caller, Depends(person)]
