"""Proves the months that are to be dropped: what is signed of them was followed, record by record."""

from collections.abc import Collection
from datetime import datetime

from analytics.domain.chain import Broken, ChainCheck
from analytics.domain.checkpoint import Checkpoint, proven_head
from analytics.domain.month import Month
from analytics.domain.record import GENESIS, Head
from analytics.storage import chain
from common.database import Connection

PAGE = 200
"""Fewer than an operator's proof takes at once: the service answers meanwhile."""


class PastProof:
    """Follows the chain from its checkpoints to the first record of `until` or later, in constant memory, a page at a time.

    It holds no lock between pages. Whoever changes a record behind it changes nothing that is signed: that is the hash of the
    last record, which the proof came to and which the database compares before it drops. `broken` is the first record, or
    checkpoint, that is not what it was.
    """

    def __init__(self, until: Month) -> None:
        self.until = until
        self.broken: Broken | None = None
        self._check = ChainCheck(GENESIS)
        self._reached: Month | None = None
        self._place: chain.Place | None = None
        self._ends: dict[Month, tuple[int, Head, datetime]] = {}

    async def begin(self, connection: Connection, trusted: Collection[bytes]) -> None:
        """Begin behind the checkpoints, which have to be signed by one of these raw public keys."""
        try:
            self._check = ChainCheck(proven_head(await chain.all_checkpoints(connection), trusted))
        except Broken as broken:
            self.broken = broken

    async def go_on(self, connection: Connection) -> bool:
        """Follow a page; tells whether there is more to follow."""
        if self.broken is not None:
            return False
        try:
            page = await chain.page(connection, self._place, limit=PAGE)
            for record in page:
                self._check.follow(record)
                self._place = chain.place_of(record)
                self._reached = Month.of(self._place.recorded_at)
                if self._reached >= self.until:
                    # It is tied to the last one that is to be dropped.
                    return False
                first = self._ends[self._reached][0] if self._reached in self._ends else record.seq
                self._ends[self._reached] = first, record.head, self._place.recorded_at
        except Broken as broken:
            self.broken = broken
            return False
        return len(page) == PAGE

    def holds(self, month: Month) -> bool:
        """Tell whether all records of a month hold, and the next one is tied to them."""
        return self.broken is None or (self._reached is not None and month < self._reached)

    def checkpoint(self, month: Month, *, signed_at: datetime) -> Checkpoint | None:
        """Return what is to be signed of a month; None when it has no record."""
        if month not in self._ends:
            return None
        first, head, recorded_at = self._ends[month]
        return Checkpoint(month, first, head.seq, head.hash, recorded_at, signed_at)
