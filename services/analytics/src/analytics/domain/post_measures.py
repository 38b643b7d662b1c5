"""What was measured of a post: its counters at a moment."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PostMeasure:
    """A post's counters as TikTok told them at a moment."""

    collected_at: datetime
    view_count: int
    like_count: int
    comment_count: int
    share_count: int


@dataclass(frozen=True, slots=True)
class PostCurve:
    """A post's newest counters, None while it was never measured, and all that was measured, oldest first."""

    tiktok_video_id: str | None
    latest: PostMeasure | None
    points: list[PostMeasure]
