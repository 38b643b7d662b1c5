"""Events and commands of analytics."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from common.contracts.message import Command, Event


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


class ConfirmStored(Command):
    """Asks whether all events that were published before are in the trail; sent by the gateway in nobody's name.

    It waits in the queue of the events, behind them, and is answered by the consumer that it comes to, for what this one had in
    hand.
    """

    KEY: ClassVar[str] = "analytics.confirm_stored.v1"
