"""What a call that went wrong means for the job, by how far the job had come."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from publisher.domain.backoff import defer_wait
from publisher.domain.job import Checkpoint, Transfer
from publisher.domain.outcomes import Defer, Fail, Reason, Unconfirm
from publisher.domain.takeover import init_unknown
from publisher.domain.unknown_outcome import unknown

ACCOUNT_WAIT_MIN_SECONDS = 60.0
REFUSED_WAIT_SECONDS = 60.0

INTERNAL_ERROR = Reason(
    "internal_error", "Publishing met an error of Cuepost's own.", "It is tried again; the operator finds it in the log."
)


class TroubleKind(StrEnum):
    """How a call went wrong."""

    NOT_SENT = "not_sent"
    """Nothing of the request left this machine."""
    NO_VERDICT = "no_verdict"
    """Sent, and no readable answer, a timeout or a 5xx: it may have had its effect."""
    BUSY = "busy"
    """Refused for now: rate limit, daily cap."""
    RETRYABLE = "retryable"
    """Refused; the same request may succeed as a new attempt."""
    FINAL = "final"
    """Refused for good."""
    ACCOUNT_WAITS = "account_waits"
    """The account is paused, expired or lacks a permission: its owner can bring it back."""
    ACCOUNT_GONE = "account_gone"
    """The account was disconnected."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failed call: its kind, why, and how many seconds to wait where that is known."""

    kind: TroubleKind
    reason: Reason
    wait: float | None = None


def before_anything_sent(trouble: Trouble, deferrals: int) -> Defer | Fail:
    """Return what follows trouble with a call that publishes nothing: token, creator info, init of a file."""
    match trouble.kind:
        case TroubleKind.RETRYABLE:
            return Fail(trouble.reason, retryable=True, retry_after=trouble.wait)
        case TroubleKind.FINAL | TroubleKind.ACCOUNT_GONE:
            return Fail(trouble.reason, retryable=False)
        case TroubleKind.ACCOUNT_WAITS:
            wait = max(trouble.wait or 0.0, ACCOUNT_WAIT_MIN_SECONDS, defer_wait(deferrals))
            return Defer(wait, trouble.reason, for_account=True)
        case _:
            return Defer(trouble.wait or defer_wait(deferrals), trouble.reason)


def may_have_published(transfer: Transfer, trouble: Trouble) -> bool:
    """Whether an init that went wrong may have had its effect, and its effect is a publication.

    Nothing says whether a fault of TikTok's own, whatever the status it is told with, came before the effect or after it: only what
    TikTok refuses for a reason is known to have had none.
    """
    return transfer is not Transfer.FILE and trouble.kind in {TroubleKind.NO_VERDICT, TroubleKind.RETRYABLE}


def after_init_trouble(transfer: Transfer, trouble: Trouble, deferrals: int) -> Defer | Fail | Unconfirm:
    """Return what follows trouble with an init: one that may have published is never repeated, and its end says why."""
    if may_have_published(transfer, trouble):
        return init_unknown(trouble.reason)
    return before_anything_sent(trouble, deferrals)


def after_status_trouble(
    checkpoint: Checkpoint, trouble: Trouble, now: datetime, *, give_up: timedelta, refused_patience: timedelta
) -> Defer | Unconfirm | Fail:
    """Return what follows trouble with a status call once something may be out: look again, and in the end `unconfirmed`.

    Not knowing is no proof, so it fails only when the last chunk never left. `give_up` bounds the whole wait,
    `refused_patience` how long TikTok may refuse to tell.
    """
    since = checkpoint.submitted_at or checkpoint.irrevocable_since or now
    refused_since = checkpoint.refused_since or now
    refused = is_refusal(trouble)
    if now - since >= give_up or (refused and now - refused_since >= refused_patience):
        return Fail(trouble.reason, retryable=True) if checkpoint.cannot_have_published else unknown(trouble.reason)
    wait = trouble.wait or defer_wait(checkpoint.deferrals)
    for_account = trouble.kind is TroubleKind.ACCOUNT_WAITS
    return Defer(max(wait, REFUSED_WAIT_SECONDS) if refused else wait, trouble.reason, for_account=for_account)


def is_refusal(trouble: Trouble) -> bool:
    """Whether waiting alone will hardly help."""
    return trouble.kind not in {TroubleKind.NOT_SENT, TroubleKind.NO_VERDICT, TroubleKind.BUSY}
