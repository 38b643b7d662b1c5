"""Which of a creator's public videos is a post: by caption, time and length, and only when no other one can be it."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from publisher.domain.job import Transfer

CLOCKS_DIFFER = timedelta(minutes=2)
PUBLISHED_WITHIN = timedelta(hours=26)
"""After the post was handed over: TikTok may take a day, and an upload an hour."""
HANDED_OVER_APART = PUBLISHED_WITHIN + CLOCKS_DIFFER
"""Of two posts that were handed over further apart, no video came in the time of both."""
LENGTH_TOLERANCE_SECONDS = 1.5
"""TikTok tells whole seconds, rounded one way or the other."""
CUT_FROM = 100
"""TikTok shows the first 150 characters of a caption; a text as long as this may be the beginning of ours."""
_VIDEO_IDS = {
    "v_pub_file": (Transfer.FILE, "direct"),
    "v_pub_url": (Transfer.PULL, "direct"),
    "v_inbox_file": (Transfer.FILE, "inbox"),
    "v_inbox_url": (Transfer.PULL, "inbox"),
}
PHOTO_IDS = "p_pub_url"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the video of an attempt looks like. `handed_over_at`: when it may have been published at the earliest."""

    job_id: UUID
    captions: tuple[str, ...]
    duration_ms: int | None
    handed_over_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the creator's public videos. `texts` are its title and description, `duration` is in seconds."""

    id: str
    created_at: datetime | None
    texts: tuple[str, ...]
    duration: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a list of videos told: `match` is the one that is certain, `possible` all that may be it."""

    possible: tuple[Candidate, ...] = ()
    match: Candidate | None = None


def find(
    wanted: Wanted, videos: Sequence[Candidate], *, rivals: Sequence[Wanted], taken: Collection[str], is_whole: bool
) -> Finding:
    """Return which video the attempt is.

    Certain only when exactly one resembles it, none of the other attempts whose video is not known (`rivals`) resembles that one,
    no known post has it (`taken`), and the list was seen back to the time of the attempt (`is_whole`).
    """
    possible = tuple(video for video in videos if video.id not in taken and resembles(wanted, video))
    is_certain = is_whole and len(possible) == 1 and not any(resembles(rival, possible[0]) for rival in rivals)
    return Finding(possible, possible[0] if is_certain else None)


def resembles(wanted: Wanted, video: Candidate) -> bool:
    """Whether the video may be the attempt's. Without a caption nothing is: time and length alone are no evidence."""
    return _in_time(wanted, video) and _same_length(wanted, video) and says(wanted.captions, video.texts)


def says(captions: Collection[str], texts: Collection[str]) -> bool:
    """Whether a text of a video is one of the captions, or the beginning of a long one."""
    ours = {plain for caption in captions if (plain := _plain(caption))}
    return any(_is_caption(_plain(text), caption) for text in texts for caption in ours)


def contradicts(publish_id: str, transfer: Transfer, mode: str) -> bool:
    """Whether a publication's id shows that it is of another kind than an attempt's; one of an unknown shape shows nothing."""
    shape = publish_id.partition("~")[0]
    if shape in _VIDEO_IDS:
        return _VIDEO_IDS[shape] != (transfer, mode)
    return shape == PHOTO_IDS and transfer is not Transfer.PHOTO


def seen_far_enough(wanted: Wanted, oldest: Candidate) -> bool:
    """Whether videos older than this one are too old to be the attempt's."""
    return oldest.created_at is not None and oldest.created_at < wanted.handed_over_at - CLOCKS_DIFFER


def _in_time(wanted: Wanted, video: Candidate) -> bool:
    if video.created_at is None:
        return False
    since = video.created_at - wanted.handed_over_at
    return -CLOCKS_DIFFER <= since <= PUBLISHED_WITHIN


def _same_length(wanted: Wanted, video: Candidate) -> bool:
    if wanted.duration_ms is None or not video.duration:
        return True
    return abs(video.duration - wanted.duration_ms / 1000) <= LENGTH_TOLERANCE_SECONDS


def _is_caption(text: str, caption: str) -> bool:
    if text == caption:
        return True
    beginning = text.removesuffix("...").removesuffix("…").rstrip()
    return len(beginning) >= CUT_FROM and caption.startswith(beginning)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
