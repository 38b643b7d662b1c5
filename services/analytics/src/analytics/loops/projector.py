"""Reads the audit trail into the copies that statistics are made of."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from analytics.usecases.project_events import LIMIT, ProjectionRules, project_events
from common.clock import utc_now
from common.database import Database
from common.due_loop import DueLoop, StepResult

GATHER_SECONDS = 0.1
"""Nobody waits for a copy that long: gathered, events cost a fraction."""


class Projector(DueLoop):
    """Looks when events were stored and every second; one replica at a time reads, whichever takes the place first."""

    def __init__(
        self,
        database: Database,
        rules: ProjectionRules,
        *,
        accounts_changed: Callable[[], None],
        now: Callable[[], datetime] = utc_now,
        limit: int = LIMIT,
    ) -> None:
        super().__init__("projector", self._project)
        self._database = database
        self._rules = rules
        self._accounts_changed = accounts_changed
        self._now = now
        self._limit = limit
        self._more = False

    async def _project(self) -> StepResult:
        if not self._more:
            await asyncio.sleep(GATHER_SECONDS)
        async with self._database.transaction() as tx:
            projected = await project_events(tx, self._rules, now=self._now(), limit=self._limit)
        if projected.accounts_changed:
            self._accounts_changed()
        self._more = projected.more
        return StepResult(done=projected.records, more=projected.more)
