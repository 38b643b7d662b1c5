"""Who and what stands behind a message: carried from the edge through every message it causes."""

from dataclasses import dataclass
from uuid import UUID

from common.contracts.traceparent import new_traceparent


@dataclass(frozen=True, slots=True)
class Context:
    """Origin of a message.

    `actor` is `user:<id>`, `api_key:<id>`, `service:<name>`, `operator:<name>` or `webhook:tiktok`; `causation_id` is the id of
    the message that caused this one; `correlation_id` is shared by everything one request caused, and so is the trace of
    `traceparent` (W3C Trace Context), but for what a service does by itself later: that begins a trace of its own.
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
        """Return the context of something a service does by itself (a due loop, a sweep) for a user's object, in a new trace."""
        return cls(user_id=user_id, actor=f"service:{service}", correlation_id=correlation_id, traceparent=new_traceparent())
