"""Keeps the audit trail's months: the coming ones exist in time, those past the retention are gone."""

from collections.abc import Collection
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
    stays, with all after it, though it is past that, and why: its part of the chain does not hold.
    """

    added: tuple[Month, ...]
    dropped: tuple[Month, ...]
    days: int
    refused: tuple[Month, Broken] | None = None


def public_of(key: Ed25519PrivateKey) -> bytes:
    """Return the raw public half of the key that signs."""
    return key.public_key().public_bytes_raw()


async def past_to_prove(
    connection: Connection, key: Ed25519PrivateKey, *, now: datetime, retention: timedelta, trusted: Collection[bytes]
) -> PastProof | None:
    """Return a proof of the months that are past their retention, at its beginning; None when there are none."""
    days = max(await months.kept_days(connection) or 0, retention.days)
    proof = PastProof(Month.of(now - timedelta(days=days)))
    if all(month >= proof.until for month in await months.existing(connection)):
        return None
    await proof.begin(connection, {public_of(key), *trusted})
    return proof


async def keep_months(
    tx: Transaction, key: Ed25519PrivateKey, *, now: datetime, retention: timedelta, proof: PastProof | None = None
) -> MonthsKept:
    """Add what is missing up to three months ahead, drop each month that ended before `now - retention`.

    Once the database was told of a retention, it keeps months as long, whatever shorter one comes later, until its owner
    says otherwise (`change_retention`). Nothing is signed that was not followed: `proof` is one that came to its end (a month
    that is past only since it began stays until the next look); without one, the months are followed here.
    """
    await months.lock(tx.connection)
    days = await months.keep_at_least(tx.connection, retention.days)
    existing = await months.existing(tx.connection)
    this = Month.of(now)
    wanted = [this.plus(number) for number in range(AHEAD + 1)]
    added = [month for month in wanted if month not in existing]
    # Dropping first: it locks the whole table, and whoever reads locks the whole before its parts.
    until = Month.of(now - timedelta(days=days))
    if proof is None:
        proof = PastProof(until)
        await proof.begin(tx.connection, {public_of(key)})
        while await proof.go_on(tx.connection):
            pass
    dropped: list[Month] = []
    refused: tuple[Month, Broken] | None = None
    for old in (month for month in existing if month < min(until, proof.until)):
        if proof.broken is not None and not proof.holds(old):
            refused = old, proof.broken
            break
        checkpoint = proof.checkpoint(old, signed_at=now)
        await months.drop(tx.connection, old, None if checkpoint is None else sign(checkpoint, key))
        dropped.append(old)
    for month in added:
        await months.add(tx.connection, month)
    return MonthsKept(tuple(added), tuple(dropped), days, refused)
