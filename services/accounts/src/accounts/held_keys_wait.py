"""Waiting until every replica has taken up a change of the encryption keys."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from accounts.storage.encryption_key_holders import Holder, running_holders
from common.database import Database

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Held:
    """Whether all replicas hold the wanted keys, and a line for each: its name and fingerprints, never a key."""

    by_all: bool
    lines: list[str]


async def replicas_hold(database: Database, wanted: Sequence[str], *, replicas: int, seconds: float) -> Held:
    """Wait up to `seconds` until at least `replicas` replicas run and each holds exactly the `wanted` keys, in that order.

    A replica that was killed counts for 20 s more: until then it cannot be told from one that is slow.
    """
    deadline = time.monotonic() + seconds
    while True:
        async with database.read() as connection:
            holders = await running_holders(connection)
        by_all = len(holders) >= replicas and all(holder.fingerprints == tuple(wanted) for holder in holders)
        if by_all or time.monotonic() >= deadline:
            return Held(by_all, [_line(holder) for holder in holders] or ["no replica tells what it holds"])
        await asyncio.sleep(POLL_SECONDS)


def _line(holder: Holder) -> str:
    text = f"{holder.instance:<16} holds {', '.join(holder.fingerprints)}"
    return text if holder.refused is None else f"{text}; {holder.refused}"
