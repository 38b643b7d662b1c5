"""What each TikTok code means for us: may it be tried again, and what a creator and an operator should know.

One table for the codes of every error shape: the API envelope, the OAuth errors, ``fail_reason`` of a finished
publication, and the codes this library gives to answers that carry none.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tiktok._failure_rows import ROWS

NO_VERDICT_STATUSES: Final = frozenset({408, 425})
"""Too slow, too early: 4xx that judge the moment and not the request."""


class FailureKind(StrEnum):
    """What may follow a failure.

    ``RETRYABLE``: a new attempt may succeed. ``DEFERRED``: it will succeed once something passes (a quota window, a
    daily cap) or a person acts (a lapsed grant, a ban); waiting costs no attempt. ``FINAL``: the same content for the
    same account never will.
    """

    RETRYABLE = "retryable"
    DEFERRED = "deferred"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Failure:
    """One code: its kind, a sentence for a creator, a hint what to do, and for deferred ones a wait in seconds.

    A deferred one without a wait concerns the account or the app as a whole: nothing of it will be taken until a person
    acts. ``known`` is false for a code that is not in the table.
    """

    code: str
    kind: FailureKind
    message: str
    hint: str
    wait_seconds: int | None = None
    known: bool = True

    @property
    def awaits_person(self) -> bool:
        """Whether it passes only when its creator or the operator does something."""
        return self.kind is FailureKind.DEFERRED and self.wait_seconds is None


FAILURES: Final = MappingProxyType(
    {code: Failure(code, FailureKind(kind), message, hint, wait_seconds) for code, kind, message, hint, wait_seconds in ROWS}
)


def failure_of(code: str, http_status: int | None = None) -> Failure:
    """Return the table's row for ``code``; an unknown code is judged by its HTTP status.

    Unknown codes are final for 4xx, deferred for 429, and retryable for 408, 425 and otherwise: only TikTok's own word ends a
    post. Codes are compared whole, never by substring.
    """
    known = FAILURES.get(code)
    if known is not None:
        return known
    if http_status == 429:
        base = FAILURES["rate_limit_exceeded"]
    elif http_status is not None and (http_status >= 500 or http_status in NO_VERDICT_STATUSES):
        base = FAILURES["internal_error"]
    else:
        is_client_error = http_status is not None and http_status >= 400
        kind = FailureKind.FINAL if is_client_error else FailureKind.RETRYABLE
        base = Failure(
            code,
            kind,
            "TikTok refused this with a code that is new to Cuepost.",
            "Look up the code in TikTok's documentation, and quote the log id when asking TikTok.",
        )
    return Failure(code, base.kind, base.message, base.hint, base.wait_seconds, known=False)
