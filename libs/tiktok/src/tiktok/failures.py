"""What each TikTok code means for us: may it be tried again, and what a creator and an operator should know.

One table for the codes of every error shape: the API envelope, the OAuth errors, ``fail_reason`` of a finished
publication, and the codes this library gives to answers that carry none.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tiktok._failure_rows import ROWS


class FailureKind(StrEnum):
    """What may follow a failure.

    ``RETRYABLE``: a new attempt may succeed. ``DEFERRED``: it will succeed once something passes (a quota window, a
    daily cap, a lapsed grant); waiting costs no attempt. ``FINAL``: the same content for the same account never will.
    """

    RETRYABLE = "retryable"
    DEFERRED = "deferred"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Failure:
    """One code: its kind, a sentence for a creator, a hint what to do, and for deferred ones a wait in seconds."""

    code: str
    kind: FailureKind
    message: str
    hint: str
    wait_seconds: int | None = None


FAILURES: Final = MappingProxyType(
    {code: Failure(code, FailureKind(kind), message, hint, wait_seconds) for code, kind, message, hint, wait_seconds in ROWS}
)


def failure_of(code: str, http_status: int | None = None) -> Failure:
    """Return the table's row for ``code``; an unknown code is judged by its HTTP status.

    Unknown codes are retryable for 5xx, deferred for 429 and otherwise final. Codes are compared whole, never by
    substring.
    """
    known = FAILURES.get(code)
    if known is not None:
        return known
    if http_status is not None and http_status >= 500:
        base = FAILURES["internal_error"]
    elif http_status == 429:
        base = FAILURES["rate_limit_exceeded"]
    else:
        return Failure(
            code,
            FailureKind.FINAL,
            "TikTok refused this request.",
            "Look up the code in TikTok's documentation, and quote the log id when asking TikTok.",
        )
    return Failure(code, base.kind, base.message, base.hint, base.wait_seconds)
