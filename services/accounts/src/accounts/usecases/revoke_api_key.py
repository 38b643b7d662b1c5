"""Revoking an API key."""

from uuid import UUID

from accounts.storage.api_keys import revoke_api_key as mark_revoked
from common.contracts.accounts import ApiKeyRevoked
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


async def revoke_api_key(tx: Transaction, outbox: Outbox, context: Context, *, user_id: UUID, key_id: UUID) -> UUID:
    """Revoke the user's key and return the id of the event that tells of it.

    Raises Problem 404 `api_key_not_found`, also for another user's.
    """
    if not await mark_revoked(tx.connection, user_id, key_id):
        raise Problem(404, "api_key_not_found", "There is no such API key.")
    revoked = ApiKeyRevoked(api_key_id=key_id, user_id=user_id)
    return (await outbox.emit(tx, revoked, subject=str(key_id), context=context)).id
