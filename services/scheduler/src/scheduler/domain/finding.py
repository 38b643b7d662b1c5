"""A rule that some input breaks, as a value."""

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: the field, a machine code, a sentence for people and what the client can do about it.

    `alternatives` holds RFC 3339 times where a time must, or may, be chosen anew. `status` is the HTTP status when it is the only
    one; `retry_after` (seconds) is set where waiting helps, `extra` holds further members of the refusal.
    """

    field: str
    code: str
    message: str
    hint: str | None = None
    alternatives: tuple[str, ...] = ()
    status: int = 422
    retry_after: int | None = None
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)

    def as_warning(self) -> dict[str, Any]:
        """Return it as a post shows and stores it among its warnings."""
        shown = {"field": self.field, "code": self.code, "message": self.message, "hint": self.hint}
        told = {name: value for name, value in shown.items() if value is not None}
        return told | ({"alternatives": list(self.alternatives)} if self.alternatives else {})
