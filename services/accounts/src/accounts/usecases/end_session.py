"""Ending a session before its time."""

from datetime import timedelta
from typing import Literal
from uuid import UUID

from accounts.storage.sessions import revoke_session
from common.auth.service_tokens import refused
from common.contracts.accounts import SessionRevoked
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


async def end_session(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    session_id: UUID,
    user_id: UUID,
    reason: Literal["logout", "refresh_token_reused"],
    token_life: timedelta,
) -> UUID | None:
    """Revoke the session and return the id of the event that tells of it; None, and nothing happens, when it was over already.

    `token_life` is how long access tokens live today; whoever remembers the revocation may forget it when the last one of this
    session has ended, also one that was issued with a longer life.
    """
    tokens_expire_at = await revoke_session(tx.connection, session_id, reason=reason, token_life=token_life)
    if tokens_expire_at is None:
        return None
    revoked = SessionRevoked(session_id=session_id, user_id=user_id, reason=reason, tokens_expire_at=tokens_expire_at)
    return (await outbox.emit(tx, revoked, subject=str(session_id), context=context)).id


def session_revoked() -> Problem:
    """Return 401 `session_revoked`."""
    return refused("session_revoked", "The session of this token was revoked.")
