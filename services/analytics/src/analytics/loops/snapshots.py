"""Looks at each active account once an hour."""

import random
from collections.abc import Coroutine, Sequence
from datetime import timedelta

import structlog

from analytics.domain.look_failures import LookFailed, MayNotLook, NoTurn, ScopeDenied
from analytics.domain.look_times import DAY, next_snapshot, snapshot_after_failure
from analytics.domain.measures import hour_of
from analytics.loops.look_loop import LookLoop
from analytics.metrics import SNAPSHOTS
from analytics.storage.clock import database_time
from analytics.storage.due_snapshots import (
    DueSnapshot,
    claim_due_snapshots,
    park_snapshot,
    release_snapshot,
    seconds_to_next_snapshot,
    settle_snapshot,
)
from analytics.tiktok_numbers import TikTokNumbers
from analytics.usecases.store_snapshot import store_snapshot
from common.database import Database
from common.messaging.outbox import Outbox

LEASE = timedelta(seconds=90)
"""Longer than a look may take: an account whose replica died is taken by another after this."""

_log = structlog.get_logger(__name__)


class Snapshots(LookLoop):
    """Each replica has at most `concurrency` accounts in hand, and all together keep TikTok's quota."""

    def __init__(
        self, database: Database, numbers: TikTokNumbers, outbox: Outbox, *, concurrency: int, lease: timedelta = LEASE
    ) -> None:
        super().__init__("snapshots", numbers.user_info_pace, concurrency=concurrency)
        self._database = database
        self._numbers = numbers
        self._outbox = outbox
        self._lease = lease

    async def _claim(self, free: int) -> Sequence[Coroutine[None, None, None]]:
        async with self._database.transaction() as tx:
            claimed = await claim_due_snapshots(tx.driver, limit=free, lease=self._lease)
        return [self._look(due) for due in claimed]

    async def _seconds_to_next(self) -> float | None:
        async with self._database.read_fast() as driver:
            return await seconds_to_next_snapshot(driver)

    async def _look(self, due: DueSnapshot) -> None:
        SNAPSHOTS.labels(await self._take(due)).inc()

    async def _take(self, due: DueSnapshot) -> str:
        """Bring one account forward and return how it ended."""
        if due.is_known:
            return await self._plan_next(due)
        try:
            numbers = await self._numbers.of_account(due.account_id)
        except NoTurn:
            self.pause()
            async with self._database.transaction() as tx:
                await release_snapshot(tx.driver, due)
            return "no_turn"
        except MayNotLook as reason:
            await self._not_allowed(due, reason)
            return "not_allowed"
        except LookFailed as failure:
            return await self._failed(due, failure)
        async with self._database.transaction() as tx:
            now = await database_time(tx.driver)
            await store_snapshot(tx, self._outbox, due, numbers, now=now)
        return "ok"

    async def _not_allowed(self, due: DueSnapshot, reason: MayNotLook) -> None:
        """Wait for the account's next event, or, where TikTok alone denies it, for a day."""
        async with self._database.transaction() as tx:
            if isinstance(reason, ScopeDenied):
                _log.warning("snapshot_denied", account_id=str(due.account_id), reason=reason.code)
                await settle_snapshot(tx.driver, due, next_at=await database_time(tx.driver) + DAY)
            else:
                _log.info("snapshot_not_allowed", account_id=str(due.account_id), reason=reason.code)
                await park_snapshot(tx.driver, due)

    async def _plan_next(self, due: DueSnapshot) -> str:
        async with self._database.transaction() as tx:
            now = await database_time(tx.driver)
            await settle_snapshot(tx.driver, due, next_at=next_snapshot(due.account_id, now))
        return "known"

    async def _failed(self, due: DueSnapshot, failure: LookFailed) -> str:
        """Plan another try in this hour; `missed` when there is no time for one, so that the hour stays empty."""
        async with self._database.transaction() as tx:
            now = await database_time(tx.driver)
            next_at = snapshot_after_failure(
                due.account_id,
                now,
                failures=due.failures + 1,
                at_least=timedelta(seconds=failure.retry_after),
                jitter=random.random(),  # noqa: S311 - jitter, not a secret
            )
            is_missed = hour_of(next_at) > hour_of(now)
            await settle_snapshot(tx.driver, due, next_at=next_at, failures=0 if is_missed else due.failures + 1)
        _log.warning("snapshot_failed", account_id=str(due.account_id), reason=failure.code, hour_missed=is_missed)
        return "missed" if is_missed else "failed"
