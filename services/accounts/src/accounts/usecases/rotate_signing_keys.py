"""Putting a new signing key in the place of the present one: without anyone noticing, or at once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.security.key_store import new_key
from accounts.security.vault import Vault
from accounts.storage.sessions import last_token_end
from accounts.storage.signing_keys import insert_signing_key, lock_signing_keys, retire_keys, usable_keys
from common.database import Transaction

RETIRE_MARGIN = timedelta(hours=1)
"""Beyond the longest token: replicas read the keys again only every half minute, and clocks differ."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is planned; not `begun` when the key of an earlier rotation has yet to sign: that one is told, nothing changed."""

    kid: str
    signs_from: datetime
    old_kids: tuple[str, ...]
    old_until: datetime
    begun: bool


async def rotate_signing_keys(tx: Transaction, vault: Vault, *, overlap: timedelta, token_life: timedelta) -> Rotation:
    """Publish a new key at once, let it sign after `overlap`, and plan the end of the older ones.

    The overlap is to be longer than verifiers keep the key set (5 minutes), so that all of them know the key before it signs. Old
    keys verify until the last token they may have signed (`token_life` after the new one took over) has ended. Rotations at the
    same time, or within the overlap of an earlier one, are one.
    """
    await lock_signing_keys(tx.connection)
    keys = await usable_keys(tx.connection)
    waiting = next((key for key in keys if not key.active), None)
    if waiting is not None:
        signs_from, kid = waiting.active_from, waiting.kid
    else:
        made = new_key(vault)
        signs_from, kid = await insert_signing_key(tx.connection, made, active_in=overlap), made.kid
    # Tokens may have been issued with a longer life than today's.
    issued_until = await last_token_end(tx.connection)
    old_until = max(signs_from + token_life, issued_until or signs_from) + RETIRE_MARGIN
    old = tuple(key.kid for key in keys if key.kid != kid and key.retired_at is None)
    await retire_keys(tx.connection, old, at=old_until)
    ending = [key for key in keys if key.kid != kid]
    return Rotation(
        kid,
        signs_from,
        tuple(key.kid for key in ending),
        max((key.retired_at or old_until for key in ending), default=old_until),
        begun=waiting is None,
    )


async def replace_signing_keys(tx: Transaction, vault: Vault) -> Rotation:
    """Let a new key sign at once, and end all others now: whatever they have signed, or will, is refused from now on.

    One that an earlier rotation has published ends with them, since whoever knows the old ones may know it as well.
    """
    await lock_signing_keys(tx.connection)
    old = tuple(key.kid for key in await usable_keys(tx.connection))
    made = new_key(vault)
    now = await insert_signing_key(tx.connection, made)
    await retire_keys(tx.connection, old, at=now)
    return Rotation(made.kid, now, old, now, begun=True)
