"""What a step of a job may end with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

PublishOutcome = Literal["published", "sent_to_inbox"]
Evidence = Literal["status", "webhook", "video_list"]
"""Where TikTok showed what is known: by its status, by a webhook alone, or by the creator's list of videos."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a code for programs, a sentence and a hint for people, TikTok's log id. Holds no secret."""

    code: str
    message: str
    hint: str | None = None
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Look again in `seconds`; the ordinary pace of polling, not worth an event. `reason` where there is something to say of it."""

    seconds: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """Wait `seconds` for something to pass; costs no attempt.

    `for_account`: a person has to bring the account back. Then there is no forecast: news of the account end the wait, and
    `seconds` is only when the job looks by itself. `awaits` names the limit of TikTok's that it waits for: then `seconds` is its
    turn, and exact. `line_version` is that of the account's line when the turn was computed (None: it does not depend on others).
    `is_news`: it is told even where the job told the same wait last.
    """

    seconds: float
    reason: Reason
    for_account: bool = False
    awaits: str | None = None
    line_version: int | None = None
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Proof that this attempt published nothing and never will. `retry_after` in seconds for the next attempt."""

    reason: Reason
    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unconfirm:
    """Whether it went out cannot be known."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Succeed:
    """TikTok said so. `post_ids` are often empty; `at` is when it was published, `log_id` TikTok's, each where it is known."""

    outcome: PublishOutcome
    post_ids: tuple[str, ...] = ()
    evidence: Evidence = "status"
    at: datetime | None = None
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """The id of a video that was published before."""

    video_id: str
    evidence: Evidence = "status"


@dataclass(frozen=True, slots=True)
class Cancel:
    """It was to be stopped, and it is certain that this attempt published nothing and never will."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """TikTok has every byte, or the order to fetch them (then with its `publish_id`, `log_id`); from here only its status tells."""

    publish_id: str | None = None
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on sending at this offset in bytes."""

    offset: int


End = Fail | Unconfirm | Succeed | Cancel
