"""What an error of the TikTok client means for a job."""

from publisher.clients.breakers import BreakerOpen, pause_of
from publisher.domain.outcomes import Fail, Reason
from publisher.domain.troubles import Trouble, TroubleKind
from tiktok.errors import GrantInvalid, TikTokError, TikTokRateLimited, TikTokUnavailable
from tiktok.failures import Failure, FailureKind, failure_of

CODE_PREFIX = "tiktok_"
AWAY = Reason(
    "tiktok_away",
    "TikTok has failed several times in a row, or has asked for a pause, so nothing is sent to it for a while.",
    "Nothing to do; one call tries whether it is back, then all go on.",
)


def trouble_of(error: TikTokError) -> Trouble:
    """Return the trouble; its code is TikTok's with our prefix, its sentence the table's with TikTok's own words."""
    reason = Reason(CODE_PREFIX + error.code, _message(error), error.hint or None, error.log_id)
    if isinstance(error, TikTokUnavailable):
        return Trouble(TroubleKind.NO_VERDICT if error.sent else TroubleKind.NOT_SENT, reason, pause_of(error))
    if isinstance(error, TikTokRateLimited):
        return Trouble(TroubleKind.BUSY, reason, error.retry_after)
    if error.failure.awaits_person or isinstance(error, GrantInvalid):
        return Trouble(TroubleKind.ACCOUNT_WAITS, reason)
    match error.kind:
        case FailureKind.DEFERRED:
            return Trouble(TroubleKind.BUSY, reason, float(error.failure.wait_seconds or 0))
        case FailureKind.RETRYABLE:
            return Trouble(TroubleKind.RETRYABLE, reason)
        case _:
            return Trouble(TroubleKind.FINAL, reason)


def not_sent_to(breaker: BreakerOpen) -> Trouble:
    """Return what it means that nothing was sent, because TikTok's endpoint has failed again and again."""
    return Trouble(TroubleKind.NOT_SENT, AWAY, breaker.wait)


def failure_from(fail_reason: str | None, log_id: str | None = None) -> Fail:
    """Return what a FAILED status means.

    A reason that passes (a daily cap, a ban) ends this attempt, but a later one may succeed: it waits for that before it begins.
    """
    row: Failure = failure_of(fail_reason or "unknown_reason")
    reason = Reason(CODE_PREFIX + row.code, _named(row, row.message, log_id), row.hint or None, log_id)
    wait = None if row.wait_seconds is None else float(row.wait_seconds)
    return Fail(reason, retryable=row.kind is not FailureKind.FINAL, retry_after=wait)


def _message(error: TikTokError) -> str:
    own = error.failure.message
    told = own if error.message in {"", own} else f"{own} TikTok says: {error.message}"
    return _named(error.failure, told, error.log_id)


def _named(failure: Failure, sentence: str, log_id: str | None) -> str:
    """Return the sentence; of a code that is not in the table with the code and what to quote when asking TikTok."""
    return sentence if failure.known else f"{sentence} (code {failure.code}, log_id {log_id or 'none'})"
