"""Shapes of the statistics."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class FiguresChange(BaseModel):
    """By how much an account's figures changed since the measure of `since`."""

    since: datetime
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int


class FiguresChanges(BaseModel):
    """The changes over 1, 7 and 30 days; null where nothing was measured then."""

    one_day: FiguresChange | None = Field(alias="1d")
    seven_days: FiguresChange | None = Field(alias="7d")
    thirty_days: FiguresChange | None = Field(alias="30d")


class AccountStats(BaseModel):
    """An account's newest figures; null until it was measured."""

    account_id: UUID
    collected_at: datetime | None
    follower_count: int | None
    following_count: int | None
    likes_count: int | None
    video_count: int | None
    change: FiguresChanges


class AccountPoint(BaseModel):
    """The last measure of the hour or day that begins at `at`."""

    at: datetime
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int


class AccountHistory(BaseModel):
    """An account's figures over a period; hours and days without a measure have no point."""

    account_id: UUID
    from_: datetime = Field(alias="from")
    to: datetime
    interval: Literal["hour", "day"]
    timezone: str
    points: list[AccountPoint]


class PostPoint(BaseModel):
    """A post's counters as they were measured at `at`."""

    at: datetime
    view_count: int
    like_count: int
    comment_count: int
    share_count: int


class PostStats(BaseModel):
    """A post's newest counters, null until it was measured, and all that was measured, oldest first."""

    post_id: UUID
    tiktok_video_id: str | None
    latest: PostPoint | None
    points: list[PostPoint]


class LatenessPercentiles(BaseModel):
    """How many milliseconds after their time posts began to be published; null when none was."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class FailureCount(BaseModel):
    """How many posts failed with this code."""

    code: str
    count: int


class BestHour(BaseModel):
    """The median of the views in the first day of the posts published in this hour of this weekday (1 is Monday)."""

    weekday: int = Field(ge=1, le=7)
    hour: int = Field(ge=0, le=23)
    median_views: float
    sample_size: int


class Overview(BaseModel):
    """How publishing went; `success_rate` is published / (published + failed + unconfirmed), null when none has ended."""

    from_: datetime = Field(alias="from")
    to: datetime
    timezone: str
    posts: dict[str, int] = Field(description="How many posts are in each state.")
    success_rate: float | None
    lateness_ms: LatenessPercentiles
    failures: list[FailureCount]
    best_hours: list[BestHour]
