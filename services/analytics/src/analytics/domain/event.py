"""One event as analytics keeps it, whoever sent it and whether its type is known or not."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


def service_of(source: str) -> str:
    """Return the name of the service at a `source`: its last part (`/services/scheduler`)."""
    return source.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `key` is the routing key, `sequence` counts per (`source`, `subject`), `time` is aware.

    `user_id` is the user whom the event concerns: only that user sees it.
    """

    id: UUID
    key: str
    source: str
    subject: str
    time: datetime
    user_id: UUID | None = None
    actor: str | None = None
    client_ip: str | None = None
    user_agent: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    sequence: int | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """`key` without its version: `scheduler.post.due.v1` and a later `.v2` are one family."""
        stem, _, version = self.key.rpartition(".")
        return stem if stem and version[:1] == "v" and version[1:].isdigit() else self.key

    @property
    def again(self) -> bool:
        """Whether nothing new happened: the sweep asked about an attempt, or was answered."""
        return self.data.get("again") is True

    def text(self, *names: str) -> str | None:
        """Return the first of the named data fields that holds text, else None: data of unknown shape raise nothing."""
        for name in names:
            value = self.data.get(name)
            if isinstance(value, str) and value:
                return value
        return None

    def number(self, name: str) -> float | None:
        """Return the named data field when it is a number, else None."""
        value = self.data.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
