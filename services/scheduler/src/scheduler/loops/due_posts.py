"""The due loop: posts leave when their time has come."""

import asyncio
from dataclasses import replace

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.outbox import Outbox
from scheduler.loops.backlog import Backlog
from scheduler.loops.owners_first import OwnersFirst
from scheduler.storage.claim import ClaimLimits, seconds_to_next_due
from scheduler.storage.users_in_line import FIRST
from scheduler.usecases.claim_due_posts import MAX_WALK, claim_due_posts, walk_of

LOOK_PAST_EVERY_S = 0.2
"""How often others are looked for behind a crowd: going past thousands of users is not free. Small batches, which go past fewer,
look as much more often."""
PACE_S = 0.005
"""After a claim that had room left, the next one begins so long after it at the earliest: posts that fall due one after the other
within that time leave together, for a fraction of the work."""
CONTENDED_S = 0.02
"""Wait when the only due rows are in another replica's hands."""
PAUSED_S = 0.05
"""Wait while too many due posts are on their way to the publisher."""
SHARES = 4
"""A small batch has places for at least as many users."""
OVERDUE_S = 60.0
"""A pause is told as a trouble once it has made a post this late."""
FULL = "the publisher's queue is full or away"
OWNERS_FIRST = "what owners have asked for meanwhile goes first, or is not heard"


class DuePosts:
    """Claims due posts; any number of replicas may run it."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        limits: ClaimLimits,
        backlog: Backlog,
        owners_first: OwnersFirst | None = None,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._limits = limits
        self._backlog = backlog
        self._look_past_at = float("-inf")
        self._turn = FIRST
        self._owners_first = owners_first
        self._pause: str | None = None
        self.loop = DueLoop("due_posts", self.step)

    async def step(self) -> StepResult:
        """Claim one batch; tells whether more are due, else the seconds until the next one is.

        While claiming is paused because the publisher cannot take more, the loop of deadlines still ends what waits for too long.
        """
        is_early = self._owners_first is not None and await self._owners_first.hold()
        room = 0 if is_early else await self._backlog.room()
        if room == 0:
            self._pause = OWNERS_FIRST if is_early else FULL
            return StepResult(next_in=PAUSED_S)
        self._pause = None
        batch = min(self._limits.batch, room)
        limits = replace(self._limits, batch=batch, per_user=min(self._limits.per_user, max(1, batch // SHARES)))
        now = asyncio.get_running_loop().time()
        turn = self._turn if now >= self._look_past_at else None
        async with self._database.transaction() as tx:
            claimed = await claim_due_posts(tx, self._outbox, limits, turn=turn)
        self._backlog.took(claimed.posts)
        if claimed.turn is not None:
            self._turn = claimed.turn
            self._look_past_at = now + LOOK_PAST_EVERY_S * walk_of(batch) / MAX_WALK
        if claimed.posts >= limits.batch:
            return StepResult(done=claimed.posts, more=True)
        async with self._database.read_fast() as driver:
            next_in = await seconds_to_next_due(driver)
        if next_in is None:
            return StepResult(done=claimed.posts)
        if not claimed.posts:
            return StepResult(next_in=next_in if next_in > 0 else CONTENDED_S)
        next_in = max(next_in, PACE_S - (asyncio.get_running_loop().time() - now))
        return StepResult(done=claimed.posts, more=next_in <= 0, next_in=next_in)

    async def check(self) -> str | None:
        """Return None, or that claiming is paused and posts are more than a minute late because of it (readiness)."""
        if self._pause is None:
            return None
        async with self._database.read_fast() as driver:
            next_in = await seconds_to_next_due(driver)
        if next_in is None or next_in > -OVERDUE_S:
            return None
        return f"{self._pause}: claiming is paused, the oldest post is {-next_in:.0f} s late"
