"""What follows from a look at a video: what is stored of it, and when it is looked at again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from analytics.domain.look_times import VideoLooks
from analytics.domain.measures import PostNumbers

LEFT_OUT_MAX: Final = 7
"""A video that TikTok has left out so often in a row (deleted, private, a photo) is looked at no more."""


@dataclass(frozen=True, slots=True)
class WatchedVideo:
    """A published video that is looked at from time to time; `failures` counts how often in a row TikTok left it out."""

    post_id: UUID
    account_id: UUID
    video_id: str
    published_at: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class VideoVerdict:
    """How a look at a video ends: its numbers, None when there are none, and the next look, None when there is no other."""

    post_id: UUID
    numbers: PostNumbers | None
    next_at: datetime | None
    failures: int


def judge_look(video: WatchedVideo, shown: Mapping[str, PostNumbers], looks: VideoLooks, now: datetime) -> VideoVerdict:
    """Return what follows from TikTok's answer at `now`, which shows these videos by their ids."""
    numbers = shown.get(video.video_id)
    failures = 0 if numbers is not None else video.failures + 1
    next_at = looks.next_look(video.published_at, video.account_id, now) if failures < LEFT_OUT_MAX else None
    return VideoVerdict(video.post_id, numbers, next_at, failures)


def skip_look(video: WatchedVideo, looks: VideoLooks, now: datetime) -> VideoVerdict:
    """Return that this look is left out: its account may be looked at again by the next one."""
    return VideoVerdict(video.post_id, None, looks.next_look(video.published_at, video.account_id, now), video.failures)


def put_off_look(video: WatchedVideo, looks: VideoLooks, now: datetime, *, at_least: timedelta, jitter: float) -> VideoVerdict:
    """Return that a look failed for a passing reason and is tried again soon."""
    next_at = looks.after_failure(video.published_at, video.account_id, now, at_least=at_least, jitter=jitter)
    return VideoVerdict(video.post_id, None, next_at, video.failures)
