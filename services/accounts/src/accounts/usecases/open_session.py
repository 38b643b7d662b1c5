"""Opening a session, after a registration or a login."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import SecretStr

from accounts.security.opaque import digest, new_secret
from accounts.storage.sessions import insert_session
from common.contracts.accounts import SessionStarted
from common.contracts.context import Context
from common.database import Transaction
from common.ids import uuid7
from common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session and the refresh token that is given out once."""

    session_id: UUID
    user_id: UUID
    refresh_token: SecretStr


async def open_session(
    tx: Transaction, outbox: Outbox, context: Context, user_id: UUID, *, life: timedelta, token_life: timedelta
) -> OpenSession:
    """Store a session that lives `life` unless it is refreshed, and tell of it. Its access token lives `token_life`."""
    session = OpenSession(uuid7(), user_id, new_secret())
    expires_at = await insert_session(
        tx.connection,
        session_id=session.session_id,
        user_id=user_id,
        token_hash=digest(session.refresh_token),
        life=life,
        token_life=token_life,
    )
    started = SessionStarted(session_id=session.session_id, user_id=user_id, expires_at=expires_at)
    await outbox.emit(tx, started, subject=str(session.session_id), context=context)
    return session
