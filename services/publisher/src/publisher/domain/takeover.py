"""What to do next with a job, judged by its checkpoint alone: the same answer for the replica that wrote it and any other."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from publisher.domain.job import Checkpoint, Step, Transfer
from publisher.domain.outcomes import Cancel, Fail, Reason, Unconfirm
from publisher.domain.unknown_outcome import LOOK_AND_WAIT


class Action(StrEnum):
    """What the runner does next."""

    FETCH = "fetch"
    """Bring the file from its address into storage."""
    PREPARE = "prepare"
    """Token, creator info, init."""
    SEND = "send"
    """Upload from the first byte; nothing has been sent yet."""
    RESYNC = "resync"
    """Bytes may be out: ask TikTok what it has before sending any more."""
    POLL = "poll"
    """All bytes are in: ask for the outcome."""
    WATCH = "watch"
    """It has ended: look whether TikTok knows more of it by now."""


_LATER = "Publish it again with a later deadline."

DEADLINE_PASSED = Fail(
    Reason(
        "deadline_passed",
        "The post could not be started before its deadline, so it was not published.",
        _LATER,
    ),
    retryable=False,
)

_WAITED_FOR_ACCOUNT = {
    "account_paused": (
        "The TikTok account was paused until the post's deadline had passed, so it was not published.",
        "Set the account to active, then publish the post again with a later deadline.",
    ),
    "account_expired": (
        "TikTok's permission for the account was missing until the post's deadline had passed, so it was not published.",
        "Connect the account again, then publish the post again with a later deadline.",
    ),
}


_WAITED_FOR_SOURCE = (
    "The video could not be fetched from its address until the post's deadline had passed, so it was not published.",
    "See to it that the address answers, then publish the post again with a later deadline.",
)
SOURCE_CODES = "source_"


def deadline_passed(waited_for: str | None, why: str | None = None) -> Fail:
    """Return the end of a job whose deadline has passed; `waited_for` and `why` are code and sentence of its last wait."""
    if waited_for is not None and waited_for.startswith(SOURCE_CODES):
        message, hint = _WAITED_FOR_SOURCE
    elif waited_for in _WAITED_FOR_ACCOUNT:
        message, hint = _WAITED_FOR_ACCOUNT[waited_for]
    elif why is not None:
        message, hint = f"{DEADLINE_PASSED.reason.message} It waited until then: {why}", _LATER
    else:
        return DEADLINE_PASSED
    return Fail(Reason(DEADLINE_PASSED.reason.code, message, hint), retryable=False)


INIT_UNKNOWN = Unconfirm(
    Reason(
        "init_outcome_unknown",
        "TikTok was asked to publish this post, but its answer was lost.",
        LOOK_AND_WAIT,
    )
)


def init_unknown(told: Reason) -> Unconfirm:
    """Return the same end for an init whose trouble is known: it says what TikTok told, or that it told nothing."""
    message = f"TikTok was asked to publish this post, and what became of that is not known: {told.message}"
    return Unconfirm(replace(INIT_UNKNOWN.reason, message=message, log_id=told.log_id))


def draft_unknown(end: Unconfirm) -> Unconfirm:
    """Return the same end with the hint for a draft, which is not to be looked for on the profile."""
    hint = "Its creator looks into the TikTok inbox. If the draft is not there an hour later, retry the post."
    return Unconfirm(replace(end.reason, hint=hint))


def next_action(checkpoint: Checkpoint, now: datetime) -> Action | Fail | Unconfirm | Cancel:
    """Return the next action, or the end that the checkpoint already implies.

    Guarantees: never a second init once a byte may be out; never a second init of a pull or photo whose first one may have
    run; nothing starts after `publish_before`.
    """
    if checkpoint.state.is_end:
        return Action.WATCH
    match checkpoint.step:
        case Step.QUEUED | Step.TOKEN | Step.FETCHING | Step.CREATOR_INFO:
            return begin(checkpoint, now)
        case Step.INIT_INTENDED:
            return begin(checkpoint, now) if checkpoint.transfer is Transfer.FILE else INIT_UNKNOWN
        case Step.INIT_DONE:
            return after_init_stored(checkpoint, now) if checkpoint.transfer is Transfer.FILE else Action.POLL
        case Step.UPLOADING:
            return Action.RESYNC
        case _:
            return Action.POLL


def first_step(checkpoint: Checkpoint) -> Step:
    """Return the checkpoint of a job that a replica has just taken. One that has to fetch its file is not yet in line to begin."""
    return Step.FETCHING if checkpoint.must_fetch else Step.TOKEN


def begin(checkpoint: Checkpoint, now: datetime) -> Action | Fail | Cancel:
    """Return whether the way to an init may be gone: nothing is out yet, only the deadline or a person can forbid it."""
    if checkpoint.cancel_wanted:
        return Cancel()
    if now > checkpoint.publish_before:
        return DEADLINE_PASSED
    return Action.FETCH if checkpoint.must_fetch else Action.PREPARE


def after_init_stored(checkpoint: Checkpoint, now: datetime) -> Action | Fail:
    """Return what follows a stored init of which no byte was sent: send, or init again once its address is over."""
    if now > checkpoint.publish_before:
        return DEADLINE_PASSED
    expires_at = checkpoint.upload_expires_at
    return Action.PREPARE if expires_at is None or now >= expires_at else Action.SEND
