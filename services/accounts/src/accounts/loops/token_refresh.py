"""Refreshes token pairs ahead of time, so that nobody who wants to publish has to wait for TikTok first."""

import asyncio
from datetime import timedelta

import structlog

from accounts.domain.account import AccountStatus
from accounts.storage.account_tokens import find_pair
from accounts.storage.due_refreshes import DueRefresh, claim_due_refreshes, seconds_to_next_refresh
from accounts.token_refresher import LEASE, LEASE_WAIT_SECONDS, RefreshPending, TokenRefresher
from common.database import Database
from common.due_loop import DueLoop, StepResult
from tiktok.errors import TikTokError

MAX_SLEEP_SECONDS = 30.0
CLAIM_HOLD = LEASE + timedelta(seconds=15)
"""Longer than a refresh may take: a claim that nobody settled is taken by another replica after this."""

log = structlog.get_logger(__name__)


class TokenRefreshLoop(DueLoop):
    """Any number of replicas; each carries out at most `concurrency` refreshes at once.

    Sleeps until the next one is due, is woken when a new grant was stored, and looks by itself every half minute for what other
    replicas planned.
    """

    def __init__(self, database: Database, refresher: TokenRefresher, *, concurrency: int) -> None:
        super().__init__("token-refresh", self._claim, max_sleep=MAX_SLEEP_SECONDS)
        self._database = database
        self._refresher = refresher
        self._concurrency = concurrency
        self._running: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Claim nothing more and let what is under way end."""
        await super().stop()
        if self._running:
            await asyncio.wait(set(self._running))

    async def _claim(self) -> StepResult:
        free = self._concurrency - len(self._running)
        if free <= 0:
            return StepResult()
        async with self._database.transaction() as tx:
            claimed = await claim_due_refreshes(tx.connection, limit=free, hold=CLAIM_HOLD)
        for due in claimed:
            task = asyncio.create_task(self._refresh(due), name=f"due-refresh:{due.account_id}")
            self._running.add(task)
            task.add_done_callback(self._done)
        if len(self._running) >= self._concurrency:
            return StepResult(done=len(claimed))
        async with self._database.read() as connection:
            return StepResult(done=len(claimed), next_in=await seconds_to_next_refresh(connection))

    def _done(self, task: "asyncio.Task[None]") -> None:
        full = len(self._running) >= self._concurrency
        self._running.discard(task)
        if full:
            self.wake()

    async def _refresh(self, due: DueRefresh) -> None:
        """Refresh one pair; whatever fails is planned again, by the refresher or by the claim's own end."""
        try:
            async with self._database.read() as connection:
                pair = await find_pair(connection, due.account_id)
            if pair is None or pair.pair_id != due.pair_id or pair.status is AccountStatus.EXPIRED:
                return
            await self._refresher.refresh(pair, patience=LEASE_WAIT_SECONDS + LEASE.total_seconds())
        except (TikTokError, RefreshPending) as error:
            log.info("due_refresh_put_off", account_id=str(due.account_id), kind=type(error).__name__)
        except Exception:
            log.exception("due_refresh_failed", account_id=str(due.account_id))
