"""Rows of the statistics, written as their writers leave them, and questions about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from analytics.storage.statistics_tables import account_days, account_snapshots, post_metrics, stats_accounts, stats_posts
from common.ids import uuid7

PLACED = datetime(2026, 11, 20, 12, tzinfo=UTC)
COUNTS = ("follower_count", "following_count", "likes_count", "video_count")


def hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def counts(followers: int) -> dict[str, int]:
    """Four figures that follow from one."""
    return dict(zip(COUNTS, (followers, followers + 1, followers * 2, followers % 50), strict=True))


def counters(views: int) -> dict[str, int]:
    """Four counters that follow from one."""
    return {"view_count": views, "like_count": views // 2, "comment_count": views // 3, "share_count": views // 5}


@dataclass
class Statistics:
    """A running service, with rows written straight into its tables."""

    analytics: Any
    user: UUID

    async def insert(self, table: Any, rows: Sequence[dict[str, Any]]) -> None:
        async with self.analytics.database.transaction() as tx:
            await tx.connection.execute(table.insert(), list(rows))

    async def account(self, *, user: UUID | None = None, status: str = "active") -> UUID:
        account_id = uuid7()
        await self.insert(
            stats_accounts,
            [{"account_id": account_id, "user_id": user or self.user, "sequence": 1, "status": status, "scopes": []}],
        )
        return account_id

    async def measured(self, account_id: UUID, measures: Iterable[tuple[datetime, int]], *, hourly: bool = True) -> None:
        """Store measures: the last of each hour, unless they are too old for that, and the last of each day of UTC."""
        hours: dict[datetime, tuple[datetime, int]] = {}
        for moment, followers in sorted(measures):
            hours[hour_of(moment)] = moment, followers
        days = {moment.astimezone(UTC).date(): (moment, followers) for moment, followers in hours.values()}
        if hourly:
            await self.months("account_snapshots", hours)
            await self.insert(account_snapshots, [self._row(account_id, *m, hour=hour) for hour, m in hours.items()])
        await self.insert(account_days, [self._row(account_id, *m, day=day) for day, m in days.items()])

    @staticmethod
    def _row(account_id: UUID, moment: datetime, followers: int, **key: Any) -> dict[str, Any]:
        return {"account_id": account_id, "collected_at": moment, **counts(followers), **key}

    async def post(self, *, user: UUID | None = None, **values: Any) -> UUID:
        """Store a post, published at its time unless `values` say something else."""
        (post_id,) = await self.posts([values], user=user)
        return post_id

    async def posts(self, rows: Sequence[dict[str, Any]], *, user: UUID | None = None) -> list[UUID]:
        default = dict.fromkeys(column.name for column in stats_posts.columns if column.server_default is None)
        default |= {"user_id": user or self.user, "state": "published", "placed_at": PLACED}
        default |= {"state_sequence": 1, "attempt": 1, "progress_attempt": 0, "progress_sequence": 0}
        made = [default | {"post_id": uuid7()} | row for row in rows]
        for begin in range(0, len(made), 500):
            await self.insert(stats_posts, made[begin : begin + 500])
        return [row["post_id"] for row in made]

    async def counted(self, post_id: UUID, measures: Iterable[tuple[datetime, int]]) -> None:
        """Store measures of a post's counters."""
        rows = [{"post_id": post_id, "collected_at": moment, **counters(views)} for moment, views in measures]
        await self.months("post_metrics", [row["collected_at"] for row in rows])
        await self.insert(post_metrics, rows)

    async def months(self, table: str, moments: Iterable[datetime]) -> None:
        """Make the partitions for these moments."""
        firsts = {date(moment.year, moment.month, 1) for moment in (one.astimezone(UTC) for one in moments)}
        async with self.analytics.database.transaction() as tx:
            for first in sorted(firsts):
                await tx.connection.execute(text("SELECT public.add_statistics_month(:t, :d)"), {"t": table, "d": first})

    async def ask(self, path: str, *, user: UUID | None = None, **params: Any) -> httpx.Response:
        headers = self.analytics.user_keys.authorization(user or self.user)
        params = {name.rstrip("_"): value for name, value in params.items()}
        answer: httpx.Response = await self.analytics.http.get(f"/internal/analytics{path}", params=params, headers=headers)
        return answer

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = await self.ask(path, **params)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


@pytest.fixture
def statistics(analytics: Any) -> Statistics:
    return Statistics(analytics, uuid4())
