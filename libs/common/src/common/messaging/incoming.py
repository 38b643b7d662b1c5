"""Messages as they come in: body, our own attempt counter, and where they came from."""

from dataclasses import dataclass

from faststream.rabbit import RabbitMessage
from pydantic import ValidationError

from common.contracts.envelope import Envelope
from common.errors import Permanent

ATTEMPT_HEADER = "x-cuepost-attempt"
DELIVERY_COUNT_HEADER = "x-delivery-count"
"""RabbitMQ's own, on quorum queues: how often the message was handed out before and came back unacknowledged."""
MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery. `attempt` counts failed handlings before this one; RabbitMQ's x-death does not survive republishing."""

    message: RabbitMessage
    queue: str
    attempt: int

    @classmethod
    def of(cls, message: RabbitMessage, queue: str) -> "Incoming":
        """Wrap a FastStream message; a counter that is not a number counts as 0."""
        counted = message.headers.get(ATTEMPT_HEADER, 0)
        return cls(message, queue, counted if isinstance(counted, int) and counted > 0 else 0)

    @property
    def returned(self) -> int:
        """How often it came back because its consumer died or stopped with it in hand."""
        counted = self.message.headers.get(DELIVERY_COUNT_HEADER, 0)
        return counted if isinstance(counted, int) else 0

    @property
    def body(self) -> bytes:
        """The raw body."""
        return bytes(self.message.body)

    @property
    def routing_key(self) -> str:
        """The key it was delivered with (after a retry: the queue's name)."""
        return self.message.raw_message.routing_key or ""

    def envelope(self) -> Envelope:
        """Return the envelope; raises `Permanent` when the body is none. The reason names fields, never values."""
        if len(self.body) > MAX_BODY_BYTES:
            raise Permanent(f"body of {len(self.body)} bytes exceeds {MAX_BODY_BYTES}")
        try:
            return Envelope.model_validate_json(self.body)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            fields = ", ".join(".".join(map(str, item["loc"])) or "body" for item in problems)
            raise Permanent(f"not an envelope: {fields}") from None
