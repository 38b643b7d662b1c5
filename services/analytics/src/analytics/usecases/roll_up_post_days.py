"""Rolls up days of posts that have changed."""

from datetime import timedelta

from analytics.storage import post_days
from common.database import Transaction


async def roll_up_post_days(tx: Transaction, *, rested: timedelta, limit: int) -> int:
    """Roll up at most `limit` users' days that did not change for so long, and return how many."""
    taken = await post_days.take_changed(tx.connection, rested=rested, limit=limit)
    if taken:
        await post_days.roll_up(tx.connection, taken)
    return len(taken)
