"""The life of a post as a pure function of (where it stands, what happened)."""

from dataclasses import dataclass
from enum import StrEnum


class PostState(StrEnum):
    """Where a post is in its life (design, section 5)."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    DUE = "due"
    PUBLISHING = "publishing"
    DEFERRED = "deferred"
    PROCESSING = "processing"
    RETRY_SCHEDULED = "retry_scheduled"
    SENT_TO_INBOX = "sent_to_inbox"
    PUBLISHED = "published"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING = frozenset({PostState.SCHEDULED, PostState.RETRY_SCHEDULED})
"""The scheduler alone decides about these: their time has not come."""

MOVING = frozenset({PostState.DUE, PostState.PUBLISHING, PostState.DEFERRED, PostState.PROCESSING})
"""The publisher has these in hand: nothing about them is certain without its word."""

FINISHED = frozenset(
    {PostState.SENT_TO_INBOX, PostState.PUBLISHED, PostState.UNCONFIRMED, PostState.FAILED, PostState.CANCELLED}
)
"""The machine does nothing more with these by itself."""


class Kind(StrEnum):
    """What can happen to a post."""

    SCHEDULE = "schedule"
    """Its owner gives a draft a time."""
    CLAIM = "claim"
    """Its time has come; a new attempt begins."""
    EXPIRE = "expire"
    """Its deadline passed before an attempt could begin."""
    RETRY = "retry"
    """Its owner wants another attempt."""
    CONFIRM = "confirm"
    """Its owner found it live at TikTok; of failed posts, one whose failure a webhook denied."""
    CANCEL = "cancel"
    """Its owner (or the end of its account) takes it back before it is due."""
    CANCEL_CONFIRMED = "cancel_confirmed"
    """The publisher's word that this attempt published nothing and never will."""
    STARTED = "started"
    WAIT = "wait"
    """The publisher waits for something outside (quota, breaker, account)."""
    SUBMITTED = "submitted"
    FAILED_RETRY = "failed_retry"
    """Proof that the attempt published nothing; the retry rules grant another."""
    FAILED_FINAL = "failed_final"
    """Proof that the attempt published nothing; there will be no other."""
    LOST = "lost"
    """The attempt's outcome cannot be known."""
    DELIVERED = "delivered"
    """Evidence that a draft lies in the creator's inbox."""
    PUBLISHED = "published"
    """Evidence that it is live, from whichever attempt."""


EVIDENCE = frozenset({Kind.DELIVERED, Kind.PUBLISHED})
"""Facts about TikTok: true whichever attempt they come from and however late they arrive."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a post stands.

    `attempt` is the number of its current attempt (0 before the first), `sequence` the highest one seen from the publisher for
    that attempt.
    """

    state: PostState
    attempt: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened; `attempt` and `sequence` are the publisher's, None for the scheduler's own doings."""

    kind: Kind
    attempt: int | None = None
    sequence: int | None = None


_S = PostState
_PROOF_OF_FAILURE = {
    **dict.fromkeys(MOVING, _S.FAILED),
    _S.UNCONFIRMED: _S.FAILED,
}

_TABLE: dict[Kind, dict[PostState, PostState]] = {
    Kind.SCHEDULE: {_S.DRAFT: _S.SCHEDULED},
    Kind.CLAIM: dict.fromkeys(WAITING, _S.DUE),
    Kind.EXPIRE: dict.fromkeys(WAITING, _S.FAILED),
    Kind.RETRY: dict.fromkeys((_S.FAILED, _S.UNCONFIRMED), _S.RETRY_SCHEDULED),
    Kind.CONFIRM: dict.fromkeys((_S.FAILED, _S.UNCONFIRMED), _S.PUBLISHED),
    Kind.CANCEL: dict.fromkeys(WAITING | {_S.DRAFT}, _S.CANCELLED),
    Kind.CANCEL_CONFIRMED: dict.fromkeys(MOVING, _S.CANCELLED),
    Kind.STARTED: dict.fromkeys((_S.DUE, _S.DEFERRED), _S.PUBLISHING),
    Kind.WAIT: dict.fromkeys((_S.DUE, _S.PUBLISHING, _S.DEFERRED), _S.DEFERRED),
    Kind.SUBMITTED: dict.fromkeys((_S.DUE, _S.PUBLISHING, _S.DEFERRED), _S.PROCESSING),
    Kind.FAILED_RETRY: {**_PROOF_OF_FAILURE, **dict.fromkeys(MOVING, _S.RETRY_SCHEDULED)},
    Kind.FAILED_FINAL: _PROOF_OF_FAILURE,
    Kind.LOST: dict.fromkeys(MOVING | {_S.UNCONFIRMED}, _S.UNCONFIRMED),
    Kind.DELIVERED: dict.fromkeys(frozenset(_S) - {_S.PUBLISHED, _S.SENT_TO_INBOX}, _S.SENT_TO_INBOX),
    Kind.PUBLISHED: dict.fromkeys(frozenset(_S) - {_S.PUBLISHED}, _S.PUBLISHED),
}


def transition(standing: Standing, happening: Happening) -> PostState | None:
    """Return the state after `happening`, or None when it changes nothing.

    The same state returned again means that the post stays and its details change (a new forecast of a wait, videos that may be
    an unconfirmed post).
    Guarantees: happenings of another attempt, and those older than what was seen of this one, change nothing, except
    evidence of publication, which always wins, and a submission of this attempt, which stays true; a published post never
    changes again; an unconfirmed one is never tried again by the machine, even when a late proof shows that it
    failed.
    """
    if happening.kind not in EVIDENCE:
        if happening.attempt is not None and happening.attempt != standing.attempt:
            return None
        is_older = happening.sequence is not None and happening.sequence < standing.sequence
        if is_older and happening.kind is not Kind.SUBMITTED:
            return None
    return _TABLE[happening.kind].get(standing.state)
