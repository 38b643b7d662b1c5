"""Reads a user's posts from the first to the last, a page at a time."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

from analytics.storage import posts
from common.database import Database

PAGE = 1_000
_BEFORE_ALL = UUID(int=0)


async def export_posts(
    database: Database, user_id: UUID, *, since: datetime, until: datetime
) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield pages of the posts placed in `since` <= t < `until`, oldest first.

    Each page is a read of its own: whoever takes them slowly holds no connection and no snapshot meanwhile.
    """
    after = since, _BEFORE_ALL
    while True:
        async with database.read() as connection:
            page = await posts.page(connection, user_id, after=after, until=until, limit=PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1]["placed_at"], UUID(page[-1]["id"])
