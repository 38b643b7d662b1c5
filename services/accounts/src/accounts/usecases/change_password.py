"""Changing a password: whatever was open with the old one ends."""

from datetime import timedelta
from uuid import UUID

from accounts.storage.api_keys import revoke_api_keys_of
from accounts.storage.sessions import revoke_sessions_of
from accounts.storage.users import replace_password_hash
from accounts.usecases.end_session import session_revoked
from accounts.usecases.open_session import OpenSession, open_session
from common.contracts.accounts import ApiKeyRevoked, PasswordChanged, SessionRevoked
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


async def change_password(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    user_id: UUID,
    session_id: UUID,
    password_hash: str,
    revoke_api_keys: bool,
    life: timedelta,
    token_life: timedelta,
) -> OpenSession:
    """Store the hash, end every session of the user, on demand every API key, tell of each, and open a session for who asked.

    The session that asked ends as well: its tokens may be what leaked. Raises Problem 401 `session_revoked` when it had ended
    before. The user's credentials are locked by then.
    """
    await replace_password_hash(tx.connection, user_id, password_hash)
    ended = await revoke_sessions_of(tx.connection, user_id, reason="password_changed", token_life=token_life)
    if session_id not in ended:
        raise session_revoked()
    keys = await revoke_api_keys_of(tx.connection, user_id) if revoke_api_keys else []
    changed = PasswordChanged(user_id=user_id, sessions_revoked=len(ended), api_keys_revoked=len(keys))
    told = [outbox.envelope(changed, subject=str(user_id), context=context)]
    for ended_id, tokens_end in ended.items():
        session = SessionRevoked(session_id=ended_id, user_id=user_id, reason="password_changed", tokens_expire_at=tokens_end)
        told.append(outbox.envelope(session, subject=str(ended_id), context=context))
    for key_id in keys:
        key = ApiKeyRevoked(api_key_id=key_id, user_id=user_id)
        told.append(outbox.envelope(key, subject=str(key_id), context=context))
    await outbox.emit_all(tx, told)
    return await open_session(tx, outbox, context, user_id, life=life, token_life=token_life)


def wrong_current_password() -> Problem:
    """Return 403 `wrong_current_password`: the token is good, so no 401 that would have clients refresh it and ask again."""
    return Problem(403, "wrong_current_password", "The current password is wrong.")
