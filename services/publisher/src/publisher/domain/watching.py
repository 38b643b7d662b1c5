"""Attempts that have ended and of which TikTok may know more: what is still open, when to look, what a look tells."""

from datetime import datetime, timedelta
from enum import StrEnum

from publisher.domain.claims import Claims, doubted, with_ids
from publisher.domain.following import Seen, verdict
from publisher.domain.job import State
from publisher.domain.matching import Finding
from publisher.domain.outcomes import Fail, Identified, PublishOutcome, Reason, Succeed
from publisher.domain.unknown_outcome import WAIT

DAY = 86_400.0
MAX_NAMED = 5
_SOON = (5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, DAY)
_DRAFT = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)


class Question(StrEnum):
    """What is still open about an attempt that has ended."""

    OUTCOME = "outcome"
    """Whether it went live after all: its outcome is not known."""
    CONTRADICTION = "contradiction"
    """Whether it went live after all: it counts as not published, and a webhook said otherwise."""
    POSTED = "posted"
    """Whether the creator has posted the draft."""
    VIDEO_ID = "video_id"
    """Which video it is."""


_WAITS: dict[Question, tuple[float, ...]] = {
    Question.OUTCOME: (*_SOON, *(DAY,) * 6),
    Question.CONTRADICTION: (),
    Question.POSTED: (*_DRAFT, *(DAY,) * 6),
    Question.VIDEO_ID: _SOON,
}

LOOKED_FOR = timedelta(seconds=sum(_WAITS[Question.OUTCOME]))
"""From the moment at which an outcome became unknown to the last look of the plan."""


def open_question(state: State, outcome: PublishOutcome | None, *, is_identified: bool) -> Question | None:
    """Return what is still open, None when nothing is or it has not ended."""
    match state:
        case State.UNCONFIRMED:
            return Question.OUTCOME
        case State.FAILED | State.CANCELLED:
            return Question.CONTRADICTION
        case State.SUCCEEDED if outcome == "sent_to_inbox":
            return Question.POSTED
        case State.SUCCEEDED if not is_identified:
            return Question.VIDEO_ID
        case _:
            return None


def watch_wait(question: Question, looks: int) -> float | None:
    """Return the seconds before the next look after `looks` looks; None when there is no further one."""
    waits = _WAITS[question]
    return waits[looks] if looks < len(waits) else None


def watched_for(question: Question, looks: int) -> float:
    """Return the seconds from the next look to the last one, after `looks` looks."""
    return sum(_WAITS[question][looks + 1 :])


def next_look(question: Question, seen: Seen | None, looks: int) -> float | None:
    """Return the seconds before the next look after one that settled nothing; None for none: TikTok says that it is over."""
    return None if seen is not None and isinstance(verdict(seen), Fail) else watch_wait(question, looks)


def after_look(
    question: Question,
    seen: Seen | None,
    claims: Claims | None,
    now: datetime,
    *,
    patience: timedelta,
    said_failed: bool = False,
) -> Succeed | Fail | Identified | None:
    """Return what a look settles, None when it settles nothing.

    TikTok's status counts where there is one (`seen`), else what its webhooks told, once the status was silent for `patience`, and
    not against a FAILED that the status told before (`said_failed`).
    """
    if question is Question.VIDEO_ID:
        return _identified(seen, claims)
    end = verdict(seen) if seen is not None else _claimed(claims, now, patience, said_failed=said_failed)
    match end:
        case Succeed() if question is not Question.POSTED or end.outcome == "published":
            return with_ids(end, claims)
        case Fail() if question is Question.OUTCOME:
            return doubted(end, claims)
        case _:
            return None


def claims_count_in(claims: Claims | None, now: datetime, *, patience: timedelta) -> float | None:
    """Return the seconds until what the webhooks told counts by itself, None when they tell no end, or that time is over."""
    if claims is None or claims.end is None:
        return None
    left = (claims.heard_at + patience - now).total_seconds()
    return left if left > 0 else None


def _claimed(claims: Claims | None, now: datetime, patience: timedelta, *, said_failed: bool) -> Succeed | Fail | None:
    if claims is None or said_failed or now - claims.heard_at < patience:
        return None
    return claims.end


def leaves_open(question: Question, seen: Seen | None) -> bool:
    """Whether the creator's videos can tell what this status (None: there is none) does not."""
    match question:
        case Question.OUTCOME:
            return seen is None or verdict(seen) is None
        case Question.CONTRADICTION:
            return seen is None or not isinstance(verdict(seen), Succeed)
        case Question.VIDEO_ID:
            return seen is None or not seen.post_ids
        case _:
            return False


def found(question: Question, finding: Finding | None) -> Succeed | Identified | None:
    """Return what the creator's list of videos settles: not that a failure was none, since its owner may have posted it by hand."""
    if finding is None or finding.match is None or question is Question.CONTRADICTION:
        return None
    video = finding.match
    if question is Question.VIDEO_ID:
        return Identified(video.id, "video_list")
    return Succeed("published", (video.id,), evidence="video_list", at=video.created_at)


def possible_reason(finding: Finding | None) -> Reason | None:
    """Return what a post of unknown outcome is told when videos were found that may be it; None when none was."""
    if finding is None or not finding.possible:
        return None
    ids = ", ".join(sorted(video.id for video in finding.possible)[:MAX_NAMED])
    count = len(finding.possible)
    looks_like_it = f"{count} videos on the profile look" if count > 1 else "A video on the profile looks"
    return Reason(
        "possible_videos",
        f"TikTok did not say whether this post was published. {looks_like_it} like it, but that is not certain: {ids}.",
        f"Look at them on TikTok, then confirm the post with the right one. {WAIT}",
    )


def _identified(seen: Seen | None, claims: Claims | None) -> Identified | None:
    if seen is not None and seen.post_ids:
        return Identified(seen.post_ids[0])
    return Identified(claims.video_ids[0], "webhook") if claims is not None and claims.video_ids else None
