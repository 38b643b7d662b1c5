"""A rule that some input breaks, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: the field, a machine code, a sentence for people and what the client can do about it.

    `alternatives` holds RFC 3339 times where a time must be chosen anew.
    """

    field: str
    code: str
    message: str
    hint: str | None = None
    alternatives: tuple[str, ...] = ()
