"""Messages as they come in: body, properties, our own attempt counter, and how to acknowledge them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from common.contracts.envelope import Envelope
from common.errors import Permanent
from common.messaging.topology import COMMANDS, DELIVERY_LIMIT, EVENTS
from common.messaging.wire.frames import Delivery
from common.telemetry.tracing import bound_trace

ATTEMPT_HEADER = "x-cuepost-attempt"
DELIVERY_COUNT_HEADER = "x-delivery-count"
"""RabbitMQ's own, on quorum queues: how often the message was handed out before and came back unacknowledged."""
HANDLED_DELIVERIES = DELIVERY_LIMIT - 4
"""After so many returns a message is not handled again: RabbitMQ would soon make it a dead letter without telling anyone, and the
few deliveries that are left are for passing it on."""
DEATH_HEADER = "x-death"
"""RabbitMQ's own: which queues sent the message on as a dead letter, in their owners' name and not in its sender's."""
GUARDED = frozenset({EVENTS.name, COMMANDS.name})
"""The exchanges whose keys only those may write by to whom RabbitMQ's topic permissions give them."""
OPERATOR = "admin"
"""The broker's user of whoever replays dead letters (`deploy/localstack/definitions.py`)."""
MAX_BODY_BYTES = 6 * 1024 * 1024
"""The largest is a batch of posts: the gateway keeps its rows below 5 MB."""


class UnknownSender(Permanent):
    """Somebody put the message into the queue who had no right to: it is not what the queue's owner or an operator passed on."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery. `routing_key` is the key it was delivered with (after a retry: the queue's name).

    `sender` is the broker's user who published it, when he says so: RabbitMQ refuses messages that name another. `exchange` is
    as in `Delivery`.
    """

    queue: str
    body: bytes
    acknowledge: Callable[[], Awaitable[None]]
    routing_key: str = ""
    message_type: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    exchange: str = ""
    sender: str | None = None
    timestamp: datetime | None = None

    @classmethod
    def of_delivery(cls, delivery: Delivery, acknowledge: Callable[[], Awaitable[None]]) -> "Incoming":
        """Wrap a delivery."""
        properties = delivery.properties
        return cls(
            delivery.queue,
            delivery.body,
            acknowledge,
            delivery.routing_key,
            properties.message_type,
            properties.correlation_id,
            properties.reply_to or None,
            properties.headers or {},
            delivery.exchange,
            properties.user_id or None,
            properties.timestamp,
        )

    @property
    def attempt(self) -> int:
        """How many handlings have failed before this one; RabbitMQ's x-death does not survive republishing."""
        return max(0, _number(self.headers.get(ATTEMPT_HEADER)))

    @property
    def returned(self) -> int:
        """How often it came back because its consumer died or stopped with it in hand."""
        return _number(self.headers.get(DELIVERY_COUNT_HEADER))

    def require_survivable(self) -> None:
        """Raise `Permanent` for a message that its consumers do not seem to survive."""
        if self.returned >= HANDLED_DELIVERIES:
            raise Permanent(f"delivered {self.returned} times before: its consumer died or stopped each time")

    def require_sender(self, user: str) -> None:
        """Raise `UnknownSender` for what came by name, neither from the queue's owner `user` (a retry) nor an operator (a replay).

        What was published to a shared exchange came under the rights of the broker, by which only the gateway writes commands, and
        each service its own events. Those rights are not asked when a service binds an exchange of its own to a shared one, or
        names that one for the dead letters of a queue: what comes so is of an unknown sender, too.
        """
        if not self.exchange:
            if self.sender not in (user, OPERATOR):
                raise UnknownSender(f"it came by the queue's name, from {self.sender or 'who does not say who it is'}")
        elif self.exchange not in GUARDED:
            raise UnknownSender(f"it came through the exchange {self.exchange}")
        elif DEATH_HEADER in self.headers:
            raise UnknownSender("it came as the dead letter of another queue")

    def envelope(self) -> Envelope:
        """Return the envelope; raises `Permanent` when the body is none, or came by a key that is not its own."""
        envelope = read_envelope(self.body)
        require_own_key(envelope, self.routing_key, self.queue)
        return envelope


def read_envelope(body: bytes) -> Envelope:
    """Return the envelope in a body; raises `Permanent` when it is none. The reason names fields, never values."""
    if len(body) > MAX_BODY_BYTES:
        raise Permanent(f"body of {len(body)} bytes exceeds {MAX_BODY_BYTES}")
    try:
        return Envelope.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        fields = ", ".join(".".join(map(str, item["loc"])) or "body" for item in problems)
        raise Permanent(f"not an envelope: {fields}") from None


def require_own_key(envelope: Envelope, routing_key: str, queue: str) -> None:
    """Raise `Permanent` for what came by another key than its type says.

    The broker lets each service publish events by its own keys alone, so the key tells who sent it. What comes by the queue's name
    was tried before, or put there by an operator (`Incoming.require_sender`).
    """
    if routing_key not in (envelope.key, queue):
        raise Permanent(f"it came as {routing_key}, and says that it is {envelope.key}")


@contextmanager
def work_for(envelope: Envelope) -> Iterator[None]:
    """Name the message, what it belongs to and its trace in the log lines of the block, and the latter in its internal calls."""
    correlated = bound_contextvars(correlation_id=envelope.correlationid, message_id=str(envelope.id))
    with correlated, bound_trace(envelope.traceparent):
        yield


def _number(value: Any) -> int:
    """Return a counter's value; one that is not a number counts as 0."""
    return value if isinstance(value, int) else 0
