"""What can go wrong at TikTok, as an exception tree by what to do next.

- :class:`TikTokUnavailable`: no verdict. Try again later; when ``sent`` is true the request may have had its effect.
- :class:`TikTokRateLimited`: wait.
- :class:`TokenInvalid`: refresh the access token once and repeat once.
- :class:`TikTokRefused`: TikTok said no; ``kind`` tells whether a new attempt makes sense.
  :class:`GrantInvalid` and :class:`ScopeMissing` below it: the creator has to connect again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

from tiktok.failures import NO_VERDICT_STATUSES, Failure, FailureKind, failure_of

_MESSAGE_LIMIT = 500
_CODE_LIMIT = 100
_MAX_RETRY_AFTER = 86_400


class TikTokError(Exception):
    """Base of all: TikTok's code, status and log id, and what a person should know.

    ``message`` is TikTok's own wording, shortened, or the table's sentence when TikTok gave none. ``retryable`` is true
    unless the failure is final. Holds no token and no signed address.
    """

    def __init__(
        self,
        code: str,
        *,
        http_status: int | None = None,
        log_id: str | None = None,
        message: str = "",
        hint: str = "",
    ) -> None:
        code = code[:_CODE_LIMIT]
        self.failure: Failure = failure_of(code, http_status)
        self.code = code
        self.http_status = http_status
        self.log_id = log_id
        self.message = message[:_MESSAGE_LIMIT] or self.failure.message
        self.hint = hint or self.failure.hint
        super().__init__(code)

    @property
    def kind(self) -> FailureKind:
        """Whether the failure is retryable, deferred or final."""
        return self.failure.kind

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed at a later time."""
        return self.kind is not FailureKind.FINAL

    def __str__(self) -> str:
        return f"{self.code} (HTTP {self.http_status}, log_id {self.log_id}): {self.message}"


class TikTokUnavailable(TikTokError):
    """TikTok gave no verdict: unreachable, no answer, an unreadable answer, a 5xx, 408 or 425.

    ``sent`` is false only when it is certain that nothing of the request reached TikTok. ``retry_after`` in seconds when
    TikTok named a wait.
    """

    def __init__(
        self,
        code: str,
        *,
        sent: bool,
        retry_after: float | None = None,
        http_status: int | None = None,
        log_id: str | None = None,
        message: str = "",
    ) -> None:
        super().__init__(code, http_status=http_status, log_id=log_id, message=message)
        self.sent = sent
        self.retry_after = retry_after

    @property
    def kind(self) -> FailureKind:
        """Always retryable: nothing was decided."""
        return FailureKind.RETRYABLE


class TikTokRateLimited(TikTokError):
    """Too many requests; ``retry_after`` in seconds (TikTok documents no header, so normally the table's minute)."""

    def __init__(
        self,
        code: str,
        *,
        retry_after: float | None = None,
        http_status: int | None = None,
        log_id: str | None = None,
        message: str = "",
    ) -> None:
        super().__init__(code, http_status=http_status, log_id=log_id, message=message)
        self.retry_after = retry_after if retry_after is not None else float(self.failure.wait_seconds or 60)

    @property
    def kind(self) -> FailureKind:
        """Always deferred: it passes."""
        return FailureKind.DEFERRED


class TokenInvalid(TikTokError):
    """The access token is expired or revoked: refresh once, repeat once.

    ``told`` is false when only the status said so: then it may be of something between TikTok and here.
    """

    def __init__(
        self, code: str, *, told: bool = True, http_status: int | None = None, log_id: str | None = None, message: str = ""
    ) -> None:
        super().__init__(code, http_status=http_status, log_id=log_id, message=message)
        self.told = told


class TikTokRefused(TikTokError):
    """TikTok refused the request and did nothing."""


class GrantInvalid(TikTokRefused):
    """The authorization code or refresh token is used up, expired or revoked: the creator has to connect again."""


class ScopeMissing(TikTokRefused):
    """The grant lacks a scope: the creator has to connect again and leave it ticked."""


def refusal(
    code: str,
    *,
    http_status: int,
    log_id: str | None,
    message: str,
    headers: Mapping[str, str],
) -> TikTokError:
    """Return the exception for a code that TikTok answered; the code decides, then the status."""
    if code == "access_token_invalid":
        return TokenInvalid(code, http_status=http_status, log_id=log_id, message=message)
    if code == "rate_limit_exceeded" or http_status == 429:
        return TikTokRateLimited(
            code,
            retry_after=retry_after_of(headers),
            http_status=http_status,
            log_id=log_id,
            message=message,
        )
    passes = http_status >= 500 or http_status in NO_VERDICT_STATUSES
    if passes or code in {"internal_error", "server_error", "temporarily_unavailable"}:
        return TikTokUnavailable(
            code,
            sent=True,
            retry_after=retry_after_of(headers),
            http_status=http_status,
            log_id=log_id,
            message=message,
        )
    if code == "invalid_grant":
        return GrantInvalid(code, http_status=http_status, log_id=log_id, message=message)
    if code in {"scope_not_authorized", "scope_permission_missed"}:
        return ScopeMissing(code, http_status=http_status, log_id=log_id, message=message)
    return TikTokRefused(code, http_status=http_status, log_id=log_id, message=message)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the wait of a Retry-After header in seconds, 0 to a day; None without one, or for nonsense."""
    header = headers.get("retry-after", "").strip()
    if header.isascii() and header.isdigit():
        return float(min(int(header[:10]), _MAX_RETRY_AFTER))
    try:
        moment = parsedate_to_datetime(header)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return float(min(max(ceil(seconds), 0), _MAX_RETRY_AFTER))
