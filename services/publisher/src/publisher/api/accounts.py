"""Of an account: whether jobs are open (accounts asks before it ends the grant), and how the day stands (the scheduler asks)."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from common.database import Database
from common.http.identity import caller
from publisher.domain.pacing import moments
from publisher.domain.tiktok_limits import FORECAST_AT_MOST, Caps
from publisher.storage.day_quota import day_of
from publisher.storage.open_jobs import count_open_jobs


class OpenJobs(BaseModel):
    """How many jobs of the account have not ended."""

    open_jobs: int


class Day(BaseModel):
    """How many posts, or drafts, the account may have in any `window_seconds`, and the moments of the last ones.

    `moments` are oldest first and at most `allowed`: those that count now, then the forecasts of the jobs in line. `allowed` is
    null while they are not counted. Nothing goes out before `not_before`: TikTok said so.
    """

    allowed: int | None
    window_seconds: float
    moments: list[datetime]
    not_before: datetime | None


def accounts_router(database: Database, caps: Caps) -> APIRouter:
    """Return the routes below `/internal/accounts`."""
    router = APIRouter(prefix="/internal/accounts")

    @router.get("/{account_id}/day", dependencies=[Depends(caller("scheduler"))])
    async def day(account_id: UUID, mode: Literal["direct", "inbox"]) -> Day:
        """Tell how the account's day stands for posts of this mode; nothing counts for an unknown account."""
        limit = caps.of_mode(mode)
        async with database.read() as connection:
            standing, deadlines = await day_of(connection, limit, account_id, mode)
        counted = limit.allowed <= FORECAST_AT_MOST
        return Day(
            allowed=limit.allowed if counted else None,
            window_seconds=limit.window,
            moments=moments(limit, standing, deadlines)[-limit.allowed :] if counted else [],
            not_before=standing.not_before if standing.not_before and standing.not_before > standing.now else None,
        )

    @router.get("/{account_id}/open-jobs", dependencies=[Depends(caller("accounts"))])
    async def open_jobs(account_id: UUID) -> OpenJobs:
        """Count the account's jobs that have not ended, those that wait for their turn too; 0 for an unknown account."""
        async with database.read() as connection:
            return OpenJobs(open_jobs=await count_open_jobs(connection, account_id))

    return router
