"""How many due posts may be handed to the publisher now: claiming pauses while too many are on their way."""

from typing import Protocol

from common.database.database import Database
from scheduler.storage.outbox_depth import due_events_in_outbox

QUIET = 50
"""So many due events, in outbox and queue, ordinary traffic leaves at any moment."""
TRICKLE = 20
"""So many questions are asked at a look while more than that wait."""


class IntakeQueue(Protocol):
    """Tells how full the publisher's intake queue is."""

    async def waiting(self) -> int | None:
        """Return how many messages wait, None while the queue is not there or the broker is away."""


class Backlog:
    """A budget of claims.

    It is measured (outbox and queue) only when it is used up, so at ordinary load it costs nothing. Each replica has its own: with
    n of them up to n times `limit` may be on their way.
    """

    def __init__(self, database: Database, queue: IntakeQueue, *, limit: int) -> None:
        self._database = database
        self._queue = queue
        self._limit = limit
        self._room = 0

    async def room(self) -> int:
        """Return how many posts may be claimed now; 0 while `limit` or more wait, or nobody would receive them."""
        if self._room <= 0:
            self._room = await self._measure()
        return max(self._room, 0)

    def took(self, posts: int) -> None:
        """Count claimed posts against the budget."""
        self._room -= posts

    async def questions(self, wanted: int) -> int:
        """Return how many of the `wanted` questions about posts under way may join what waits for the publisher.

        All of them while hardly anything waits; a few while it is behind, since a post that is stuck would otherwise not be asked
        about for as long as that lasts. 0 when the queue is not there, or twice as many wait as may be claimed: a publisher that
        was away finds no heap of questions.
        """
        in_queue = await self._queue.waiting()
        if in_queue is None or in_queue >= 2 * self._limit:
            return 0
        async with self._database.read() as connection:
            waiting = in_queue + await due_events_in_outbox(connection, cap=2 * self._limit)
        if waiting <= QUIET:
            return wanted
        return min(wanted, TRICKLE) if waiting < 2 * self._limit else 0

    async def _measure(self) -> int:
        in_queue = await self._queue.waiting()
        if in_queue is None:
            return 0
        async with self._database.read() as connection:
            in_outbox = await due_events_in_outbox(connection, cap=self._limit)
        return self._limit - in_queue - in_outbox
