"""Making an API key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import SecretStr

from accounts.domain.api_key import KEY_MARK, KEYS_PER_USER, ApiKey, prefix_of
from accounts.security.opaque import digest, new_secret
from accounts.storage.api_keys import count_live_keys, insert_api_key, lock_api_keys
from accounts.storage.sessions import is_session_live
from accounts.usecases.end_session import session_revoked
from common.contracts.accounts import ApiKeyCreated
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.ids import uuid7
from common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key with its secret, which is shown this once."""

    key: ApiKey
    secret: SecretStr


async def create_api_key(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    user_id: UUID,
    session_id: UUID,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
) -> NewApiKey:
    """Store the key by its hash and tell of it. Raises Problem 409 `too_many_api_keys`; revoked and expired ones do not count.

    401 `session_revoked` when the session that makes it has ended meanwhile: one that a new password ends leaves no key behind.
    """
    await lock_api_keys(tx.connection, user_id)
    if not await is_session_live(tx.connection, session_id):
        raise session_revoked()
    if await count_live_keys(tx.connection, user_id) >= KEYS_PER_USER:
        raise Problem(
            409,
            "too_many_api_keys",
            f"A user has at most {KEYS_PER_USER} API keys that work.",
            hint="Revoke one that is not used.",
        )
    secret = new_secret(KEY_MARK)
    key = await insert_api_key(
        tx.connection,
        key_id=uuid7(),
        user_id=user_id,
        name=name,
        prefix=prefix_of(secret.get_secret_value()),
        key_hash=digest(secret),
        scopes=scopes,
        expires_at=expires_at,
    )
    created = ApiKeyCreated(
        api_key_id=key.id,
        user_id=user_id,
        name=key.name,
        prefix=key.prefix,
        scopes=list(key.scopes),
        expires_at=key.expires_at,
    )
    await outbox.emit(tx, created, subject=str(key.id), context=context)
    return NewApiKey(key, secret)
