"""Keeps the audit trail's months: the coming ones exist in time, those past the retention are gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.domain.chain import Broken
from analytics.domain.checkpoint import sign
from analytics.domain.month import Month
from analytics.storage import months
from analytics.usecases.prove_past import PastProof
from common.database import Connection, Transaction

AHEAD = 3


@dataclass(frozen=True, slots=True)
class MonthsKept:
    """What was done: months added, and months dropped, each with a signed checkpoint of its records.

    `days` is how long the database keeps months at least, which is what was asked for or longer. `refused` is the month that
    stays, with all after it, though it is past that, and why: its part of the chain does not hold. `strange` are partitions that
    are named after no month: while there are any, all months stay.
    """

    added: tuple[Month, ...]
    dropped: tuple[Month, ...]
    days: int
    refused: tuple[Month, Broken] | None = None
    strange: tuple[str, ...] = ()


def public_of(key: Ed25519PrivateKey) -> bytes:
    """Return the raw public half of the key that signs."""
    return key.public_key().public_bytes_raw()


async def past_to_prove(
    connection: Connection, key: Ed25519PrivateKey, *, now: datetime, retention: timedelta, trusted: Collection[bytes]
) -> PastProof | None:
    """Return a proof of the months that are past their retention, at its beginning; None when there are none."""
    days = max(await months.kept_days(connection) or 0, retention.days)
    proof = PastProof(Month.of(now - timedelta(days=days)))
    existing, strange = await months.partitions(connection)
    if strange or all(month >= proof.until for month in existing):
        return None
    await proof.begin(connection, {public_of(key), *trusted})
    return proof


async def keep_months(
    tx: Transaction, key: Ed25519PrivateKey, *, now: datetime, retention: timedelta, proof: PastProof | None = None
) -> MonthsKept:
    """Add what is missing up to three months ahead, drop each month that ended before `now - retention`.

    Once the database was told of a retention, it keeps months as long, whatever shorter one comes later, until its owner
    says otherwise (`change_retention`). Nothing is signed that was not followed: `proof` is one that came to its end (a month
    that is past only since it began stays until the next look); without one, the months are followed here. What a partition holds
    that somebody made under another name may be older than a month, which would then be dropped out of the middle of the chain.
    """
    await months.lock(tx.connection)
    days = await months.keep_at_least(tx.connection, retention.days)
    existing, strange = await months.partitions(tx.connection)
    this = Month.of(now)
    wanted = [this.plus(number) for number in range(AHEAD + 1)]
    added = [month for month in wanted if month not in existing]
    # Dropping first: it locks the whole table, and whoever reads locks the whole before its parts.
    dropped: list[Month] = []
    refused: tuple[Month, Broken] | None = None
    if not strange:
        until = Month.of(now - timedelta(days=days))
        past = [month for month in existing if month < until]
        dropped, refused = await _drop(tx, key, past, proof or await _followed(tx, key, until), now=now)
    for month in added:
        await months.add(tx.connection, month)
    return MonthsKept(tuple(added), tuple(dropped), days, refused, tuple(strange))


async def _followed(tx: Transaction, key: Ed25519PrivateKey, until: Month) -> PastProof:
    """Return a proof that came to its end."""
    proof = PastProof(until)
    await proof.begin(tx.connection, {public_of(key)})
    while await proof.go_on(tx.connection):
        pass
    return proof


async def _drop(
    tx: Transaction, key: Ed25519PrivateKey, past: Sequence[Month], proof: PastProof, *, now: datetime
) -> tuple[list[Month], tuple[Month, Broken] | None]:
    """Drop what the proof has followed, oldest first; returns those, and the one that does not hold: it stays, as do later ones."""
    dropped: list[Month] = []
    for old in (month for month in past if month < proof.until):
        if proof.broken is not None and not proof.holds(old):
            return dropped, (old, proof.broken)
        checkpoint = proof.checkpoint(old, signed_at=now)
        await months.drop(tx.connection, old, None if checkpoint is None else sign(checkpoint, key))
        dropped.append(old)
    return dropped, None
