"""Reads the curve of a post."""

from uuid import UUID

from analytics.domain.post_measures import PostCurve
from analytics.storage import post_measures as storage
from common.database import Connection
from common.errors import Problem

MAX_POINTS = 5_000


async def read_post_curve(connection: Connection, post_id: UUID, *, user_id: UUID) -> PostCurve:
    """Return the newest counters of a user's post and its newest 5,000 measures. Raises Problem 404 `post_not_found`."""
    curve = await storage.curve_of(connection, post_id, user_id=user_id, limit=MAX_POINTS)
    if curve is None:
        raise Problem(404, "post_not_found", "There is no such post.")
    return curve
