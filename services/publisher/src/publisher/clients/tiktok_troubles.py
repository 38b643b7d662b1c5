"""What an error of the TikTok client means for a job."""

from publisher.domain.outcomes import Fail, Reason
from publisher.domain.troubles import Trouble, TroubleKind
from tiktok.errors import GrantInvalid, ScopeMissing, TikTokError, TikTokRateLimited, TikTokUnavailable, TokenInvalid
from tiktok.failures import Failure, FailureKind, failure_of

CODE_PREFIX = "tiktok_"


def trouble_of(error: TikTokError) -> Trouble:
    """Return the trouble; its code is TikTok's with our prefix, its sentence the table's with TikTok's own words."""
    reason = Reason(CODE_PREFIX + error.code, _message(error), error.hint or None, error.log_id)
    if isinstance(error, TikTokUnavailable):
        return Trouble(TroubleKind.NO_VERDICT if error.sent else TroubleKind.NOT_SENT, reason)
    if isinstance(error, TikTokRateLimited):
        return Trouble(TroubleKind.BUSY, reason, error.retry_after)
    if isinstance(error, TokenInvalid | ScopeMissing | GrantInvalid):
        return Trouble(TroubleKind.ACCOUNT_WAITS, reason)
    wait = error.failure.wait_seconds
    match error.kind:
        case FailureKind.DEFERRED:
            return Trouble(TroubleKind.BUSY, reason, None if wait is None else float(wait))
        case FailureKind.RETRYABLE:
            return Trouble(TroubleKind.RETRYABLE, reason)
        case _:
            return Trouble(TroubleKind.FINAL, reason)


def failure_from(fail_reason: str | None, log_id: str | None = None) -> Fail:
    """Return what a FAILED status means. A reason that passes (a daily cap) ends this attempt, but a later one may succeed."""
    row: Failure = failure_of(fail_reason or "unknown_reason")
    reason = Reason(CODE_PREFIX + row.code, row.message, row.hint or None, log_id)
    wait = None if row.wait_seconds is None else float(row.wait_seconds)
    return Fail(reason, retryable=row.kind is not FailureKind.FINAL, retry_after=wait)


def _message(error: TikTokError) -> str:
    own = error.failure.message
    return own if error.message in {"", own} else f"{own} TikTok says: {error.message}"
