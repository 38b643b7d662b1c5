"""Using an API key: it is exchanged for a short user JWT."""

from dataclasses import replace

from pydantic import SecretStr

from accounts.domain.api_key import ApiKey
from accounts.security.opaque import digest
from accounts.storage.api_keys import find_live_key, note_use
from common.contracts.accounts import ApiKeyUsed
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


async def use_api_key(tx: Transaction, outbox: Outbox, context: Context, secret: SecretStr) -> ApiKey:
    """Return the key and note its use, telling of it at most hourly. Raises Problem 401 `invalid_api_key`."""
    key = await find_live_key(tx.connection, digest(secret))
    if key is None:
        raise Problem(
            401,
            "invalid_api_key",
            "The API key is unknown, revoked or expired.",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    if await note_use(tx.connection, key.id):
        used = ApiKeyUsed(api_key_id=key.id, user_id=key.user_id)
        origin = replace(context, user_id=key.user_id, actor=f"api_key:{key.id}")
        await outbox.emit(tx, used, subject=str(key.id), context=origin)
    return key
