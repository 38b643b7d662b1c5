"""Reads how a user's publishing went."""

from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from analytics.domain.overview import Overview, most_frequent, offsets, posts_by_state, success_rate
from analytics.domain.period import Period
from analytics.storage import overview as storage
from common.database import Connection

BEST_HOURS_OF = timedelta(days=180)
SAMPLE = 20_000


async def read_overview(connection: Connection, user_id: UUID, *, asked: Period, zone: ZoneInfo) -> Overview:
    """Return how the posts of the period went, and the best hours of the newest 20,000 of the 180 days up to its end."""
    counted = await storage.counted(connection, user_id, asked)
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
