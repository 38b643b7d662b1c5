"""Names and arguments of every exchange and queue. Works on RabbitMQ 3.10 and 4.x.

Changing the arguments of an existing queue fails (PRECONDITION_FAILED), so limits that may change belong into policies.
"""

from dataclasses import dataclass

from faststream.rabbit import ExchangeType, QueueType, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.queue import QuorumQueueArgs

EVENTS = RabbitExchange("cuepost.events", type=ExchangeType.TOPIC, durable=True)
COMMANDS = RabbitExchange("cuepost.commands", type=ExchangeType.TOPIC, durable=True)

DELIVERY_LIMIT = 20
"""Safety net for messages that kill their consumer; each graceful stop counts once for what was prefetched."""


@dataclass(frozen=True, slots=True)
class RetryTier:
    """A delay for redelivery: a fanout exchange with one TTL queue that dead-letters back to the target queue."""

    name: str
    delay_seconds: int

    @property
    def exchange(self) -> RabbitExchange:
        """The exchange to publish to, with the target queue's name as routing key."""
        return RabbitExchange(f"cuepost.retry.{self.name}", type=ExchangeType.FANOUT, durable=True)

    @property
    def queue(self) -> RabbitQueue:
        """The queue that holds messages for the delay.

        Without a dead-letter routing key a message keeps its own, which names the target queue.
        """
        return self._holding(f"cuepost.retry.{self.name}")

    def queue_of(self, target: str) -> RabbitQueue:
        """Return the queue that holds only messages of queue `target` for the delay: how many there are can be asked."""
        return self._holding(f"{target}.retry.{self.name}", back_to=target)

    def _holding(self, name: str, *, back_to: str | None = None) -> RabbitQueue:
        arguments: QuorumQueueArgs = {
            "x-message-ttl": self.delay_seconds * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        if back_to is not None:
            arguments["x-dead-letter-routing-key"] = back_to
        return RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True, arguments=arguments)


RETRY_TIERS = (RetryTier("1s", 1), RetryTier("5s", 5), RetryTier("30s", 30), RetryTier("5m", 300))
MAX_ATTEMPTS = 6


def retry_tier(attempt: int, *, at_least: float | None = None, at_most: float | None = None) -> RetryTier:
    """Return the tier after the `attempt`-th failure (from 1); the last tier serves all later ones.

    `at_least` (seconds) asks for a tier that waits so long, where there is one; with `at_most` no tier that waits longer is among
    them, but the first always is.
    """
    tiers = [tier for tier in RETRY_TIERS if at_most is None or tier.delay_seconds <= at_most] or RETRY_TIERS[:1]
    usual = min(attempt, len(tiers)) - 1
    return next((tier for tier in tiers[usual:] if tier.delay_seconds >= (at_least or 0)), tiers[-1])


def dead_letter_name(queue: str) -> str:
    """Return the name of a queue's dead-letter queue."""
    return f"{queue}.dead"


def work_queue(name: str) -> RabbitQueue:
    """Return a durable quorum queue whose rejected messages go to `<name>.dead`."""
    return RabbitQueue(
        name,
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letter_name(name),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def dead_letter_queue(name: str) -> RabbitQueue:
    """Return the queue that keeps what queue `name` could not handle."""
    return RabbitQueue(dead_letter_name(name), queue_type=QueueType.QUORUM, durable=True)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a queue receives: routing key pattern of a topic exchange."""

    exchange: RabbitExchange
    pattern: str


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue of a service, its bindings, and how many messages one replica holds at once (`prefetch`).

    With `own_retries` its failed messages wait in queues of their own, beside it, instead of those that all queues share.
    `taken_from` names the queue of the same service that had these bindings in an earlier version: it loses them once this one
    has them. What waits there is handled there.
    """

    name: str
    bindings: tuple[Binding, ...]
    prefetch: int = 50
    own_retries: bool = False
    taken_from: str | None = None


def retries_of(queue: str) -> tuple[str, ...]:
    """Return the queues in which failed messages of a queue with `own_retries` wait for another try."""
    return tuple(tier.queue_of(queue).name for tier in RETRY_TIERS)


def held_back_in(queue: str) -> tuple[str, ...]:
    """Return the queues that hold what a queue with `own_retries` was given and did not handle."""
    return (dead_letter_name(queue), *retries_of(queue))


def events_queue(name: str, *patterns: str, prefetch: int = 50) -> QueueSpec:
    """Return a queue bound to events by routing key patterns."""
    return QueueSpec(name, tuple(Binding(EVENTS, pattern) for pattern in patterns), prefetch)


def commands_queue(name: str, *keys: str, prefetch: int = 20, taken_from: str | None = None) -> QueueSpec:
    """Return a queue bound to commands by routing key."""
    return QueueSpec(name, tuple(Binding(COMMANDS, key) for key in keys), prefetch, taken_from=taken_from)
