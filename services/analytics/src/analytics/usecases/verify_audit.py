"""Proves that nothing in the audit trail was changed, added or removed afterwards."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from analytics.domain.chain import Broken, ChainCheck
from analytics.domain.checkpoint import proven_head
from analytics.domain.record import Head
from analytics.storage import chain
from common.database import Connection


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven: how many records hold, from when to when they were written, and where the chain ends now.

    `dropped` months are vouched for by signed checkpoints alone; so are those of the known heads that lie in one (`unseen`).
    """

    records: int
    first_at: datetime | None
    last_at: datetime | None
    head: Head
    dropped: int
    unseen: tuple[Head, ...]


async def verify_audit(connection: Connection, *, trusted: Collection[bytes], known: Collection[Head] = ()) -> Proof:
    """Follow the whole chain, however long, in constant memory.

    `trusted` are the raw public keys whose checkpoints count. `known` are heads noted earlier: the chain has to hold them still,
    which shows whether its end was cut off and written anew. Raises `Broken` at the first record that is not what it was.
    """
    expected: dict[int, set[bytes]] = {}
    for noted in known:
        expected.setdefault(noted.seq, set()).add(noted.hash)
    async with chain.kept_whole(connection):
        checkpoints = await chain.all_checkpoints(connection)
        begin = proven_head(checkpoints, trusted)
        check = ChainCheck(begin)
        first_at = last_at = None
        for head in (Head(item.checkpoint.last_seq, item.checkpoint.last_hash) for item in checkpoints):
            _require_known(head, expected)
        async for record in chain.all_records(connection):
            check.follow(record)
            _require_known(record.head, expected)
            first_at, last_at = first_at or record.recorded_at, record.recorded_at
    lost = sorted(seq for seq in expected if seq > check.head.seq)
    if lost:
        raise Broken(check.head.seq + 1, None, f"is missing: the trail has reached {lost[-1]} before")
    unseen = tuple(Head(seq, digest) for seq, digests in sorted(expected.items()) for digest in sorted(digests))
    return Proof(check.records, first_at, last_at, check.head, len(checkpoints), unseen)


def _require_known(head: Head, expected: dict[int, set[bytes]]) -> None:
    if expected.pop(head.seq, {head.hash}) != {head.hash}:
        raise Broken(head.seq, None, "is not the one that was known: the trail was written anew")
