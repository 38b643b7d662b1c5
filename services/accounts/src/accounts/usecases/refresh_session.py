"""Refreshing a session: the refresh token is used up and replaced; a used one that comes back ends the session.

The one exception is an answer that got lost: see docs/decisions/0015-a-lost-refresh-answer.md.
"""

from dataclasses import replace
from datetime import timedelta
from enum import Enum
from typing import Literal

from pydantic import SecretStr

from accounts.domain.user import RefreshToken
from accounts.security.opaque import digest, new_secret
from accounts.storage.sessions import add_refresh_token, lock_refresh_token, rotate_refresh_token
from accounts.usecases.end_session import end_session
from accounts.usecases.open_session import OpenSession
from accounts.usecases.tell_refusals import refusals_to_tell
from common.contracts.accounts import RefreshRefused
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


class Refusal(Enum):
    """Why a refresh token is refused."""

    INVALID = "invalid_refresh_token"
    REUSED = "refresh_token_reused"


async def find_refresh_token(tx: Transaction, token: SecretStr) -> RefreshToken | None:
    """Return the stored token, locked together with its session."""
    return await lock_refresh_token(tx.connection, digest(token))


async def refresh_session(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    token: SecretStr,
    stored: RefreshToken | None,
    life: timedelta,
    token_life: timedelta,
    grace: timedelta,
) -> OpenSession | Refusal:
    """Rotate the token, or refuse it; the transaction is to be committed in both cases. `stored` is None for an unknown token.

    A token that was used before means that two parties hold it: the whole session ends. Within `grace` of its use, and while
    nothing that was given for it has been used, its sender may have lost the answer and gets another.
    """
    if stored is None or stored.session_over:
        return await _invalid(tx, outbox, context, stored)
    session = OpenSession(stored.session_id, stored.user_id, new_secret())
    if stored.repeats_lost_answer(grace.total_seconds()):
        await add_refresh_token(
            tx.connection, stored.session_id, new_hash=digest(session.refresh_token), life=life, token_life=token_life
        )
        return session
    if stored.seconds_since_use is not None:
        await end_session(
            tx,
            outbox,
            context,
            session_id=stored.session_id,
            user_id=stored.user_id,
            reason="refresh_token_reused",
            token_life=token_life,
        )
        return Refusal.REUSED
    if stored.expired:
        return await _invalid(tx, outbox, context, stored)
    await rotate_refresh_token(
        tx.connection,
        stored.session_id,
        used_hash=digest(token),
        new_hash=digest(session.refresh_token),
        life=life,
        token_life=token_life,
    )
    return session


async def _invalid(tx: Transaction, outbox: Outbox, context: Context, stored: RefreshToken | None) -> Refusal:
    """Refuse, and tell of it at most once a minute for each address and session; all unknown tokens count as one."""
    times = await refusals_to_tell(tx, context, "refresh_token", "" if stored is None else str(stored.session_id))
    if not times:
        return Refusal.INVALID
    if stored is None:
        refused = RefreshRefused(session_id=None, user_id=None, reason="unknown", times=times)
        await outbox.emit(tx, refused, subject="unknown", context=replace(context, actor=None))
        return Refusal.INVALID
    reason: Literal["revoked", "expired"] = "revoked" if stored.session_revoked else "expired"
    refused = RefreshRefused(session_id=stored.session_id, user_id=stored.user_id, reason=reason, times=times)
    await outbox.emit(tx, refused, subject=str(stored.session_id), context=context)
    return Refusal.INVALID


def refresh_refused(refusal: Refusal) -> Problem:
    """Return 401 with the refusal's code."""
    detail = "The refresh token is not valid."
    if refusal is Refusal.REUSED:
        detail = "This refresh token was used before; its session has been ended."
    return Problem(
        401, refusal.value, detail, hint="Log in again.", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
    )
