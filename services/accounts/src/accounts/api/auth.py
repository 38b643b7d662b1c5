"""Registration, login, refresh and logout. Without a user's token only the gateway calls."""

from contextlib import suppress
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import SecretStr

from accounts.api.answers import TokensAnswer, UserAnswer
from accounts.api.bodies import Login, Refresh, Registration
from accounts.api.identity import LiveUser, Person, WiredParts, session_id_of
from accounts.api.never_stored import never_stored
from accounts.api.password_check import PasswordCheck
from accounts.api.revocations_told import revocations_told
from accounts.domain.identity import email_key, normal_password
from accounts.metrics import LOGINS, SESSION_REFRESHES
from accounts.parts import Parts
from accounts.security.passwords import Verdict
from accounts.storage.users import email_taken, find_credentials, find_user, replace_password_hash
from accounts.usecases.end_session import end_session
from accounts.usecases.login import LoginAttempt, invalid_credentials
from accounts.usecases.open_session import OpenSession, open_session
from accounts.usecases.refresh_session import Refusal, find_refresh_token, refresh_refused, refresh_session
from accounts.usecases.register import email_taken_problem, register
from common.errors import Problem, Transient
from common.http.identity import caller, client_ip, request_context
from common.ids import uuid7

router = APIRouter(prefix="/internal/auth", tags=["auth"], dependencies=[Depends(never_stored)])
FromGateway = Annotated[str, Depends(caller("gateway"))]


@router.post("/register", status_code=201)
async def register_user(request: Request, body: Registration, parts: WiredParts, _: FromGateway) -> TokensAnswer:
    """Register a person and open a session. 409 `email_taken`."""
    async with parts.database.read() as connection:
        if await email_taken(connection, body.email.key):
            raise email_taken_problem()
    password_hash = await parts.passwords.hash(body.password)
    user_id = uuid7()
    context = request_context(request, user_id=user_id)
    async with parts.database.transaction() as tx:
        await register(
            tx,
            parts.outbox,
            context,
            user_id=user_id,
            email=body.email,
            username=body.username,
            password_hash=password_hash,
            timezone=body.timezone,
        )
        session = await open_session(
            tx, parts.outbox, context, user_id, life=parts.refresh_life, token_life=parts.jwts.session_life
        )
    return _tokens(parts, session)


@router.post("/login")
async def log_in(request: Request, body: Login, parts: WiredParts, _: FromGateway) -> TokensAnswer:
    """Open a session. 401 `invalid_credentials`, 429 `too_many_attempts`, 503 while too many of all, or of these, wait."""
    key, password = email_key(body.email), normal_password(body.password)
    attempt = LoginAttempt.of(key, client_ip(request))
    async with parts.login_turns.of(attempt):
        return await _log_in(request, parts, attempt, key, password)


@router.post("/refresh")
async def refresh(request: Request, body: Refresh, parts: WiredParts, _: FromGateway) -> TokensAnswer:
    """Replace a session's tokens. 401 `invalid_refresh_token`, or `refresh_token_reused`, which ends the session."""
    async with parts.database.transaction() as tx:
        stored = await find_refresh_token(tx, body.refresh_token)
        outcome = await refresh_session(
            tx,
            parts.outbox,
            request_context(request, user_id=None if stored is None else stored.user_id),
            token=body.refresh_token,
            stored=stored,
            life=parts.refresh_life,
            token_life=parts.jwts.session_life,
            grace=timedelta(seconds=parts.settings.refresh_grace_seconds),
        )
    if isinstance(outcome, Refusal):
        SESSION_REFRESHES.labels(outcome.value).inc()
        if outcome is Refusal.REUSED:
            await revocations_told(parts, None)
        raise refresh_refused(outcome)
    SESSION_REFRESHES.labels("ok").inc()
    return _tokens(parts, outcome)


@router.post("/logout", status_code=204)
async def log_out(request: Request, parts: WiredParts, claims: Person) -> Response:
    """End the session; its tokens are refused from now on, and every gateway knows within a second of this answer."""
    async with parts.database.transaction() as tx:
        event_id = await end_session(
            tx,
            parts.outbox,
            request_context(request),
            session_id=session_id_of(claims),
            user_id=claims.user_id,
            reason="logout",
            token_life=parts.jwts.session_life,
        )
    await revocations_told(parts, event_id)
    return Response(status_code=204)


@router.get("/me")
async def me(parts: WiredParts, claims: LiveUser) -> UserAnswer:
    """Tell who the token belongs to."""
    async with parts.database.read() as connection:
        user = await find_user(connection, claims.user_id)
    if user is None:
        raise Problem(404, "user_not_found", "There is no such user.")
    return UserAnswer.of(user)


async def _log_in(request: Request, parts: Parts, attempt: LoginAttempt, key: str, password: SecretStr) -> TokensAnswer:
    """Count the attempt, compare the password of the person with this email key, and open a session."""
    check = PasswordCheck(
        request,
        parts,
        attempt,
        lambda connection: find_credentials(connection, key),
        refusal=invalid_credentials,
        reason="invalid_credentials",
    )
    await check.begin()
    while True:
        known, verdict = await check.right(password)
        stronger = await _stronger(parts, verdict, password)
        async with parts.database.transaction() as tx:
            if not await check.settle(tx, known):
                continue
            if stronger is not None:
                await replace_password_hash(tx.connection, known.user_id, stronger)
            session = await open_session(
                tx,
                parts.outbox,
                check.context(known),
                known.user_id,
                life=parts.refresh_life,
                token_life=parts.jwts.session_life,
            )
        LOGINS.labels("ok").inc()
        return _tokens(parts, session)


async def _stronger(parts: Parts, verdict: Verdict, password: SecretStr) -> str | None:
    """Return a new hash in place of an outdated one; the next login does it when there is no place for that now."""
    with suppress(Transient):
        if verdict.outdated:
            return await parts.passwords.hash(password)
    return None


def _tokens(parts: Parts, session: OpenSession) -> TokensAnswer:
    return TokensAnswer.of(session, parts.jwts.for_session(session.user_id, session.session_id))
