"""Errors classified by what to do next.

Problem     tell the user (RFC 9457 problem details); never retried by the machine
Transient   the same message or call may succeed later: retry with backoff
Permanent   it never will: park the message in its dead-letter queue with the reason
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid input field: its dotted path, a machine code, a sentence for people and, where it helps, a hint."""

    field: str
    code: str
    message: str
    hint: str | None = None


class Problem(Exception):
    """A refusal that the caller is told about as `application/problem+json` (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        title: str | None = None,
        hint: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.title = title or HTTPStatus(status).phrase
        self.hint = hint
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def to_body(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the JSON object of the response body; members that are empty are left out."""
        body: dict[str, Any] = {
            "type": f"urn:cuepost:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if request_id is not None:
            body["request_id"] = request_id
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = [
                {key: value for key, value in asdict(error).items() if value is not None} for error in self.errors
            ]
        return {**body, **self.extra}


class Transient(Exception):
    """Handling failed for a passing reason; the message is redelivered after a delay.

    `retry_after` is in seconds; without it the retry tiers decide. `until` is for what must not be given up after the usual number
    of tries: it goes on in the last tier, every five minutes or `at_most` so many seconds, until that moment.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, until: datetime | None = None, at_most: float | None = None
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.until = until
        self.at_most = at_most


class Permanent(Exception):
    """The message can never be handled; `str(error)` is the reason shown with its dead letter (no secrets in it)."""
