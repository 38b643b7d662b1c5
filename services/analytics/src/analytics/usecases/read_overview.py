"""Reads how a user's publishing went."""

from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from analytics.domain.overview import Overview, most_frequent, offsets, posts_by_state, success_rate
from analytics.domain.period import Period
from analytics.storage import overview as storage
from analytics.storage import post_days
from common.database import Connection

COUNTED_ONE_BY_ONE = 10_000
BEST_HOURS_OF = timedelta(days=180)
SAMPLE = 10_000


async def read_overview(connection: Connection, user_id: UUID, *, asked: Period, zone: ZoneInfo) -> Overview:
    """Return how the posts placed in the period went, and the best hours of the newest 10,000 published in the 180 days to its end.

    With more than 10,000 posts in the period, percentiles of lateness are within 1 %; all else is exact.
    """
    are_many = await post_days.are_more_than(connection, user_id, asked, COUNTED_ONE_BY_ONE)
    counted = await (post_days.added_up if are_many else storage.counted)(connection, user_id, asked)
    posts = posts_by_state(counted.states)
    published = Period(asked.until - BEST_HOURS_OF, asked.until)
    differences = offsets(zone, published.since, published.until)
    return Overview(
        posts=posts,
        success_rate=success_rate(posts),
        lateness=counted.lateness,
        failures=most_frequent(counted.failures),
        best_hours=await storage.best_hours(connection, user_id, published, differences, sample=SAMPLE),
    )
