"""One run of a job: from its checkpoint, step after step, until it waits, ends, or is lost."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception, wait_exponential_jitter

from common.contracts.message import Event
from common.contracts.publisher import PublishDeferred
from common.database import Connection
from common.database.failures import is_database_away
from publisher.domain.job import State
from publisher.domain.outcomes import Fail
from publisher.errors import LeaseLost
from publisher.runner import events
from publisher.runner.job_clock import JobClock
from publisher.runner.late_truth import end_repeats, stop_later_attempts
from publisher.runner.lease import Lease
from publisher.runner.told_limits import learn_from_end
from publisher.runner.tools import Tools
from publisher.storage import account_holds, accounts, jobs, quota_line
from publisher.storage.job import Job


class JobRun:
    """A claimed job in the hands of this replica.

    `job` is always what the database holds, as long as the lease is ours. `database` is asked in the turn of its
    user. `ends` is set when the replica is asked to end. `touched` once a byte of the file has been handed to the network in this
    run. `unclear` while a try before the answered one may have brought TikTok the chunk, or a run before this one the last one.
    `looks_for_held` while it tries whether TikTok takes posts of its account again.
    """

    def __init__(self, tools: Tools, job: Job, lease: Lease, clock: JobClock, stopping: asyncio.Event) -> None:
        self.tools = tools
        self.database = tools.turns.of(job.context.user_id)
        self.job = job
        self.lease = lease
        self.clock = clock
        self.touched = False
        self.unclear = False
        self.looks_for_held = False
        self._account_version = job.account_version
        self.ends = stopping

    @property
    def stopping(self) -> bool:
        """Whether the replica was asked to end, so that the job is to be handed back at the next safe point."""
        return self.ends.is_set()

    def resumed(self) -> Event | None:
        """Return the event that tells that a job which had told of a wait goes on, None for one that had not."""
        job = self.job
        if job.last_event is None or job.last_event.key != PublishDeferred.KEY:
            return None
        return events.started(job, self.tools.replica, job.started_at or self.clock.now())

    async def check_send(self) -> None:
        """Check the lease just before a call. Raises LeaseLost."""
        self.lease.check()

    async def check_init(self) -> None:
        """Check the lease just before an init. Whoever is paused after that sends it all the same. Raises LeaseLost."""
        self.lease.check()
        self.tools.crash.reach("init_checked")

    async def store(
        self,
        changes: Mapping[str, Any],
        *,
        event: Event | None = None,
        release_in: float | None = None,
        ended: bool = False,
        unless_news: bool = False,
        unless_moved: int | None = None,
        learn_from: Fail | None = None,
    ) -> None:
        """Commit a checkpoint, and the event that tells of it, in one transaction under the fencing token.

        With `unless_news`, the job is due again at once, and nothing is told, when its account changed since the job was claimed:
        what the job found may be over. It is due at once, too, when one ahead of it has left the account's line since the version
        `unless_moved`. `learn_from` is a failure that may tell of a cap or a ban. While the database is away it is tried again as
        long as the lease lasts. Raises `LeaseLost`; then nothing was stored.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_database_away),
            wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05),
            stop=lambda _: not self.lease.valid,
            reraise=True,
        ):
            with attempt:
                await self._store_once(changes, event, release_in, ended, unless_news, unless_moved, learn_from)

    async def _store_once(
        self,
        changes: Mapping[str, Any],
        event: Event | None,
        release_in: float | None,
        ended: bool,
        unless_news: bool,
        unless_moved: int | None,
        learn_from: Fail | None,
    ) -> None:
        if self.lease.revoked:
            raise LeaseLost
        if ended or release_in is not None:
            changes = {"awaits_quota": None, **changes}
        async with self.database.transaction() as tx:
            if unless_news and await accounts.version_held(tx.connection, self.job.account_id) != self._account_version:
                event, release_in = None, 0.0
            job = await jobs.save(
                tx.connection,
                self.job.id,
                self.lease.token,
                changes,
                event=None if event is None else events.stored(event),
                release_in=release_in,
                ended=ended,
            )
            if release_in is not None and job.left_line(self.job):
                await quota_line.call_next(tx.connection, job.account_id, after=0.0)
            if unless_moved is not None:
                await quota_line.catch_up(tx.connection, self.job.account_id, self.job.id, since=unless_moved)
            if event is not None:
                await self.tools.outbox.emit(tx, event, subject=str(job.post_id), context=job.context, sequence=job.sequence)
            if self.looks_for_held and job.publish_id is not None:
                await self._let_go(tx.connection)
            if learn_from is not None:
                await learn_from_end(tx.connection, job, self.tools.limits.caps, learn_from)
            if ended and job.checkpoint.state.proves_nothing_published:
                await quota_line.move_up(tx.connection, job.account_id)
                await end_repeats(tx, self.tools, job)
            if ended and job.checkpoint.state is State.SUCCEEDED:
                await stop_later_attempts(tx, self.tools, job)
            if ended and job.checkpoint.state is not State.UNCONFIRMED:
                await jobs.wake_later_attempts(tx.connection, job.post_id, job.attempt)
        self.job = job

    async def _let_go(self, connection: Connection) -> None:
        """End the hold: TikTok takes the account's posts again. Those that were held go on, in the order in which they were due."""
        if await account_holds.lift(connection, self.job.account_id, self.job.post.mode):
            await accounts.wake_jobs(connection, self.job.account_id)
