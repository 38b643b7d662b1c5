"""Another password for who is logged in; logins are in `auth.py`."""

from fastapi import APIRouter, Depends, Request

from accounts.api.answers import TokensAnswer
from accounts.api.bodies import PasswordChange
from accounts.api.identity import Person, WiredParts, session_id_of
from accounts.api.never_stored import never_stored
from accounts.api.password_check import PasswordCheck
from accounts.api.revocations_told import revocations_told
from accounts.domain.identity import normal_password
from accounts.metrics import LOGINS
from accounts.parts import Parts
from accounts.storage.users import email_key_of, find_own_credentials
from accounts.usecases.change_password import change_password, wrong_current_password
from accounts.usecases.login import LoginAttempt
from accounts.usecases.open_session import OpenSession
from common.auth.claims import UserClaims
from common.errors import Problem, Transient
from common.http.identity import client_ip

router = APIRouter(prefix="/internal/auth", tags=["auth"], dependencies=[Depends(never_stored)])


@router.post("/password")
async def change(request: Request, body: PasswordChange, parts: WiredParts, claims: Person) -> TokensAnswer:
    """Store another password and end all sessions of the user; the answer has the tokens of a new one.

    403 `wrong_current_password`; 429 and 503 as a login, by whose attempts this one is counted.
    """
    async with parts.database.read() as connection:
        key = await email_key_of(connection, claims.user_id)
    if key is None:
        raise Problem(404, "user_not_found", "There is no such user.")
    attempt = LoginAttempt.of(key, client_ip(request))
    async with parts.login_turns.of(attempt):
        session = await _changed(request, parts, attempt, claims, body)
    await revocations_told(parts, None)
    return TokensAnswer.of(session, parts.jwts.for_session(session.user_id, session.session_id))


async def _changed(
    request: Request, parts: Parts, attempt: LoginAttempt, claims: UserClaims, body: PasswordChange
) -> OpenSession:
    """Count the attempt, compare the current password, and change it."""
    check = PasswordCheck(
        request,
        parts,
        attempt,
        lambda connection: find_own_credentials(connection, claims.user_id),
        refusal=wrong_current_password,
        reason="wrong_current_password",
    )
    await check.begin()
    while True:
        known, _ = await check.right(normal_password(body.current_password))
        try:
            password_hash = await parts.passwords.hash(body.new_password)
        except Transient:
            await check.forget()
            raise
        async with parts.database.transaction() as tx:
            if not await check.settle(tx, known):
                continue
            session = await change_password(
                tx,
                parts.outbox,
                check.context(known),
                user_id=known.user_id,
                session_id=session_id_of(claims),
                password_hash=password_hash,
                revoke_api_keys=body.revoke_api_keys,
                life=parts.refresh_life,
                token_life=parts.jwts.session_life,
            )
        LOGINS.labels("ok").inc()
        return session
