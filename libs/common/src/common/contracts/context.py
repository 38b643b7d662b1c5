"""Who and what stands behind a message: carried from the edge through every message it causes."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Context:
    """Origin of a message.

    `actor` is `user:<id>`, `api_key:<id>`, `service:<name>`, `operator:<name>` or `webhook:tiktok`; `causation_id` is the id of
    the message that caused this one; `correlation_id` is shared by everything one request caused.
    """

    user_id: UUID | None = None
    actor: str | None = None
    client_ip: str | None = None
    user_agent: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None

    @classmethod
    def of_service(cls, service: str, *, user_id: UUID | None = None, correlation_id: str | None = None) -> "Context":
        """Return the context of something a service does by itself (a due loop, a sweep) for a user's object."""
        return cls(user_id=user_id, actor=f"service:{service}", correlation_id=correlation_id)
