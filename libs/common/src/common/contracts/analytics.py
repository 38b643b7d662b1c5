"""Events of analytics."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from common.contracts.message import Event


class AccountStatsCollected(Event):
    """The numbers of a TikTok account were read, once an hour at most.

    An hour whose numbers `account.connected` or `account.synced` told is measured, and has none of these.
    """

    KEY: ClassVar[str] = "analytics.account_stats.collected.v1"
    account_id: UUID
    user_id: UUID
    collected_at: datetime
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int
