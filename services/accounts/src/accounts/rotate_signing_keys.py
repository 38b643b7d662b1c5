"""`python -m accounts.rotate_signing_keys`: a new key for user tokens, in the environment of the accounts service.

Prints key ids and times, never a key. Run again within the overlap it tells of the rotation under way and changes nothing. With
`--now` (a key has become known to others) the new key signs at once and what older ones have signed is refused.
"""

import argparse
import asyncio
import sys
from datetime import datetime, timedelta

from accounts.operator_event import OperatorEvents, operator_events
from accounts.security.vault import Vault
from accounts.settings import Settings
from accounts.usecases.rotate_signing_keys import Rotation, replace_signing_keys, rotate_signing_keys
from common.database import Database
from common.settings import load


async def rotate(
    database: Database, vault: Vault, settings: Settings, events: OperatorEvents, *, now: bool = False
) -> Rotation:
    """Rotate, with `now` ending the old keys at once; told to the audit trail before it is committed."""
    life = timedelta(seconds=max(settings.access_token_ttl_seconds, settings.api_key_token_ttl_seconds))
    overlap = timedelta(seconds=settings.signing_key_overlap_seconds)
    async with database.transaction() as tx:
        if now:
            rotation = await replace_signing_keys(tx, vault)
        else:
            rotation = await rotate_signing_keys(tx, vault, overlap=overlap, token_life=life)
        if rotation.begun:
            details = {
                "kid": rotation.kid,
                "signs_from": _text(rotation.signs_from),
                "old_kids": list(rotation.old_kids),
                "old_until": _text(rotation.old_until),
            }
            await events.tell("signing_keys_rotated", rotation.kid, details)
    return rotation


def lines_of(rotation: Rotation) -> list[str]:
    """Return what the operator reads."""
    begun = "new signing key" if rotation.begun else "a rotation is under way; its key"
    ended = rotation.old_until <= rotation.signs_from
    until = "is ended" if ended else f"verifies until {_text(rotation.old_until)}"
    return [
        f"{begun} {rotation.kid} is published and signs from {_text(rotation.signs_from)}",
        *(f"old signing key {kid} {until}" for kid in rotation.old_kids),
    ]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m accounts.rotate_signing_keys")
    parser.add_argument("--now", action="store_true", help="end the old keys at once: what they signed is refused")
    now = parser.parse_args().now
    settings = load(Settings)
    database = Database(settings.database_url, application_name="accounts-operator", pool_size=1)
    try:
        async with operator_events(settings.amqp_url) as events:
            rotation = await rotate(database, Vault(settings.encryption_keys), settings, events, now=now)
    finally:
        await database.stop()
    sys.stdout.write("\n".join(lines_of(rotation)) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())
