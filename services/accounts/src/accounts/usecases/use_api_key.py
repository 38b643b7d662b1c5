"""Using an API key: it is exchanged for a short user JWT."""

from dataclasses import replace
from typing import Literal

from pydantic import SecretStr

from accounts.domain.api_key import ApiKey, DeadKey
from accounts.domain.throttle import counted_address
from accounts.security.opaque import digest
from accounts.storage.api_keys import find_dead_key, find_live_key, note_use
from accounts.usecases.tell_refusals import refusals_to_tell
from common.contracts.accounts import ApiKeyRefused, ApiKeyUsed
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


async def use_api_key(
    tx: Transaction, outbox: Outbox, context: Context, secret: SecretStr, *, many_addresses: bool = False
) -> ApiKey | None:
    """Return the key and note its use, telling of it; None for a key that is not good, which is told of, too.

    A use is told of at most hourly for each key and address (an IPv6 address counts with its whole /64). From a certain number
    of addresses on, or when the caller says that it does not tell `many_addresses` apart, that is told instead.
    """
    key = await find_live_key(tx.connection, digest(secret))
    if key is None:
        await _tell_refused(tx, outbox, context, await find_dead_key(tx.connection, digest(secret)))
        return None
    address = counted_address(context.client_ip) if context.client_ip else ""
    told = await note_use(tx.connection, key.id, digest(f"use:{key.id}:{address}"), many_addresses=many_addresses)
    if told is not None:
        reason: Literal["many_addresses"] | None = "many_addresses" if told == "many_addresses" else None
        used = ApiKeyUsed(api_key_id=key.id, user_id=key.user_id, reason=reason)
        origin = replace(context, user_id=key.user_id, actor=f"api_key:{key.id}")
        await outbox.emit(tx, used, subject=str(key.id), context=origin)
    return key


async def _tell_refused(tx: Transaction, outbox: Outbox, context: Context, dead: DeadKey | None) -> None:
    """Tell that a key was refused, at most once a minute for each address and key; all unknown ones count as one."""
    times = await refusals_to_tell(tx, context, "api_key", "" if dead is None else str(dead.id))
    if not times:
        return
    if dead is None:
        refused = ApiKeyRefused(api_key_id=None, user_id=None, reason="unknown", times=times)
        await outbox.emit(tx, refused, subject="unknown", context=replace(context, actor=None))
    else:
        refused = ApiKeyRefused(api_key_id=dead.id, user_id=dead.user_id, reason=dead.reason, times=times)
        origin = replace(context, user_id=dead.user_id, actor=f"api_key:{dead.id}")
        await outbox.emit(tx, refused, subject=str(dead.id), context=origin)


def invalid_api_key() -> Problem:
    """Return 401 `invalid_api_key`, the same whatever the reason."""
    return Problem(
        401,
        "invalid_api_key",
        "The API key is unknown, revoked or expired.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
