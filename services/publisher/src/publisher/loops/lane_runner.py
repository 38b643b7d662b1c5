"""A lane runner: claims due jobs of one lane up to its free places and runs each as a task."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from common.clock import boot_seconds
from common.database import Database
from common.due_loop import DueLoop, StepResult
from common.telemetry.tracing import bound_trace
from publisher.domain.job import Lane
from publisher.domain.shares import Places
from publisher.loops.heartbeat import Heartbeat
from publisher.loops.spare_memory import give_back
from publisher.metrics import LATENESS
from publisher.runner.job_clock import JobClock
from publisher.runner.lease import Lease
from publisher.runner.perform import perform
from publisher.runner.run import JobRun
from publisher.runner.tools import Tools
from publisher.storage import jobs
from publisher.storage.job import Job
from publisher.usecases.claim_jobs import claim_jobs

CLAIM_BATCH = 40
"""A claim begins its jobs one by one, and who comes after it waits: on a busy machine tens of milliseconds for each."""
CROWD_HEAD = 16
"""So many of the first due jobs are looked at, and locked, after a claim that left some out: few of them will get a place."""
LOOK_PAST_EVERY_S = 0.2
"""How often others' jobs are looked for behind those of a user who has its share of the places: it goes through all users."""
BURST = 50
"""So many jobs at once leave enough memory behind to be given back when all have ended."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How a lane runs: places for jobs at once, length of a lease, and how long a stop waits for safe points."""

    lane: Lane
    places: int
    lease: timedelta
    drain_seconds: float


class LaneRunner:
    """A component. A job that waits is only a row: tasks exist for jobs that do something at this moment.

    One user's jobs have no more places than are left free, so that another's find one. `claims` is the database with connections
    for which no job in hand waits.
    """

    def __init__(self, tools: Tools, claims: Database, heartbeat: Heartbeat, options: LaneOptions) -> None:
        self.name = f"runner-{options.lane.value}"
        self._tools = tools
        self._claims = claims
        self._heartbeat = heartbeat
        self._options = options
        self._stopping = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], Lease] = {}
        self._users: Counter[UUID | None] = Counter()
        self._left_out = False
        self._looked_past_at = float("-inf")
        self._most_at_once = 0
        self._loop = DueLoop(self.name, self._step)
        self.wake = self._loop.wake
        self.healthy = self._loop.healthy

    @property
    def running(self) -> int:
        """How many jobs are running."""
        return len(self._tasks)

    async def start(self) -> None:
        """Start claiming."""
        self._stopping.clear()
        await self._loop.start()

    async def stop(self) -> None:
        """Claim no more, let running jobs reach a safe point, then hand back what is left, at once due for any replica."""
        self._stopping.set()
        await self._loop.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._options.drain_seconds)
        left = dict(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            async with self._claims.transaction() as tx:
                count = await jobs.hand_back(tx.connection, [(lease.job_id, lease.token) for lease in left.values()])
            _log.info("leases_handed_back", lane=self._options.lane.value, jobs=count)

    async def _step(self) -> StepResult:
        free = self._options.places - len(self._tasks)
        if free <= 0:
            # A job that ends wakes the loop.
            return StepResult()
        before = boot_seconds()
        look_past = before - self._looked_past_at >= LOOK_PAST_EVERY_S
        async with self._claims.transaction() as tx:
            claimed = await claim_jobs(
                tx,
                self._options.lane,
                owner=self._tools.replica,
                lease=self._options.lease,
                limit=min(free, CLAIM_BATCH),
                vouch_after=self._tools.limits.vouch_after,
                outbox=self._tools.outbox,
                places=Places(free, self._users),
                head=CROWD_HEAD if self._left_out else None,
                look_past=look_past,
            )
        self._left_out = claimed.left_out
        if look_past:
            self._looked_past_at = before
        if claimed.at is not None:
            for job in claimed.jobs:
                if job.started_at == claimed.at:
                    LATENESS.observe((claimed.at - job.post.due_at).total_seconds())
                self._begin(job, claimed.at, before)
        if claimed.left_out and (claimed.jobs or claimed.at is None):
            # They wait for places of their user; a job that ends wakes the loop.
            return StepResult(done=len(claimed.jobs), next_in=LOOK_PAST_EVERY_S)
        if claimed.at is not None:
            return StepResult(done=len(claimed.jobs), more=True)
        async with self._claims.read() as connection:
            return StepResult(next_in=await jobs.seconds_until_due(connection, self._options.lane))

    def _begin(self, job: Job, claimed_at: datetime, before: float) -> None:
        lease = Lease(job.id, job.lease_token, valid_until=before + self._options.lease.total_seconds())
        lease.streamed = job.checkpoint.sent_bytes
        run = JobRun(self._tools, job, lease, JobClock(claimed_at, at=before), self._stopping)
        task = asyncio.create_task(_perform(run), name=f"job:{job.post_id}#{job.attempt}")
        self._tasks[task] = lease
        self._users[job.post.user_id] += 1
        self._most_at_once = max(self._most_at_once, len(self._tasks))
        self._heartbeat.hold(lease, lambda: _cancel(task))
        task.add_done_callback(lambda _: self._finished(task, job.post.user_id))

    def _finished(self, task: asyncio.Task[None], user_id: UUID) -> None:
        lease = self._tasks.pop(task)
        self._users -= Counter([user_id])
        self._heartbeat.let_go(lease)
        if not task.cancelled() and task.exception() is not None:
            # Nothing could be stored: the lease ends by itself and the job is due again.
            _log.error("job_task_failed", job_id=str(lease.job_id), exc_info=task.exception())
        if not self._tasks:
            if self._most_at_once >= BURST:
                give_back()
            self._most_at_once = 0
        self._loop.wake()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel("lease lost")


async def _perform(run: JobRun) -> None:
    context, job = run.job.context, run.job
    with (
        bound_contextvars(correlation_id=context.correlation_id, post_id=str(job.post_id), attempt=job.attempt),
        bound_trace(context.traceparent),
    ):
        await perform(run)
