"""Heartbeat: renews all leases of this replica in one statement, every third of their length unless told otherwise."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from common.clock import boot_seconds
from common.database import Database
from common.database.failures import is_database_away
from publisher.runner.crash_points import NOWHERE, CrashPoints
from publisher.runner.lease import Lease
from publisher.storage import jobs

ONE_AND_A_HALF = 1.5
"""Of an interval: so little is left of a lease only after a beat that did not renew it."""

_log = structlog.get_logger(__name__)


class Heartbeat:
    """A component that knows the leases in hand; a lease the database no longer knows is revoked and its holder told.

    While the database is away nothing is renewed, and each lease ends by itself on the local clock.
    """

    name = "heartbeat"

    def __init__(
        self, database: Database, *, lease: timedelta, every: timedelta | None = None, crash: CrashPoints = NOWHERE
    ) -> None:
        self._database = database
        self._lease = lease
        self._crash = crash
        self._patience = lease.total_seconds() / 3
        self._interval = self._patience if every is None else every.total_seconds()
        self._held: dict[Lease, Callable[[], None]] = {}
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: str | None = None

    def hold(self, lease: Lease, on_lost: Callable[[], None]) -> None:
        """Renew this lease from now on; `on_lost` is called once when it is gone."""
        self._held[lease] = on_lost

    def let_go(self, lease: Lease) -> None:
        """Renew it no longer."""
        self._held.pop(lease, None)

    @property
    def held(self) -> list[Lease]:
        """The leases in hand."""
        return list(self._held)

    async def start(self) -> None:
        """Start beating."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Stop; stop it after the runners, which hand their leases back."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    def healthy(self) -> str | None:
        """Return None, or why leases are not renewed."""
        return "not running" if self._task is None or self._task.done() else self._failure

    async def beat(self) -> None:
        """Renew all leases once and revoke those that are lost; one whose row is locked is left for the next beat."""
        leases = list(self._held)
        if not leases:
            return
        before = boot_seconds()
        async with asyncio.timeout(self._patience), self._database.transaction() as tx:
            renewed = await jobs.renew(
                tx.connection, [(lease.job_id, lease.token, lease.streamed) for lease in leases], lease=self._lease
            )
            skipped = [(lease.job_id, lease.token) for lease in leases if lease.job_id not in renewed]
            locked = await jobs.unexpired(tx.connection, skipped) if skipped else set()
        for lease in leases:
            if lease.job_id in renewed:
                lease.extend(before + self._lease.total_seconds())
            elif lease.job_id not in locked:
                self._lost(lease)

    def _lost(self, lease: Lease) -> None:
        lease.revoke()
        on_lost = self._held.pop(lease, None)
        if on_lost is not None:
            on_lost()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            if any(lease.seconds_left < self._interval * ONE_AND_A_HALF for lease in self._held):
                self._crash.reach("lease_nearly_over")
            try:
                await self.beat()
                self._failure = None
            except Exception as error:  # noqa: BLE001 - told by healthy(); unrenewed leases end by themselves
                self._failure = f"leases not renewed: {type(error).__name__}"
                _log.warning("leases_not_renewed", exc_info=None if is_database_away(error) else error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._interval)
