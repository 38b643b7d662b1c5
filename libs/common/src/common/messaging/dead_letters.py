"""What becomes of a message that could not be handled: a later try, or its dead-letter queue with the reason."""

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from common.clock import rfc3339, utc_now
from common.errors import Permanent, Transient
from common.messaging.incoming import ATTEMPT_HEADER, Incoming
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.topology import MAX_ATTEMPTS, dead_letter_name, retry_tier

REASON_LIMIT = 500

_log = structlog.get_logger(__name__)


class Redelivery:
    """Publishes failed messages to a retry tier or a dead-letter queue; acknowledges them after the confirm.

    With `own_retries` the tiers are queues beside that of the message (`QueueSpec.own_retries`).
    """

    def __init__(self, publisher: MessagePublisher, *, service: str, own_retries: bool = False) -> None:
        self._publisher = publisher
        self._service = service
        self._own_retries = own_retries

    async def settle(self, incoming: Incoming, error: BaseException) -> bool:
        """Send the message on and acknowledge it; returns True when it became a dead letter.

        While the broker does not confirm it is tried again, with backoff, until it does or the service stops: given up, the
        delivery would stay unacknowledged, and its place in the prefetch lost, until the channel closes.
        """
        attempt = incoming.attempt + 1
        is_dead = isinstance(error, Permanent) or (attempt >= MAX_ATTEMPTS and not _goes_on(error))
        message = self._dead(incoming, error, attempt) if is_dead else self._postponed(incoming, error, attempt)
        async for publishing in AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5),
            before_sleep=lambda state: _log.warning(
                "failed_message_not_passed_on", queue=incoming.queue, tries=state.attempt_number
            ),
        ):
            with publishing:
                await self._publisher.publish(message)
        await incoming.acknowledge()
        return is_dead

    def _postponed(self, incoming: Incoming, error: BaseException, attempt: int) -> Outgoing:
        passing = error if isinstance(error, Transient) else Transient("")
        tier = retry_tier(attempt, at_least=passing.retry_after, at_most=passing.at_most)
        _log.warning("message_retry", queue=incoming.queue, attempt=attempt, tier=tier.name, reason=_reason(error))
        return Outgoing(
            body=incoming.body,
            exchange=None if self._own_retries else tier.exchange,
            routing_key=tier.queue_of(incoming.queue).name if self._own_retries else incoming.queue,
            correlation_id=incoming.correlation_id,
            reply_to=incoming.reply_to,
            message_type=incoming.message_type,
            timestamp=incoming.timestamp,
            headers={ATTEMPT_HEADER: attempt},
            mandatory=True,
        )

    def _dead(self, incoming: Incoming, error: BaseException, attempt: int) -> Outgoing:
        _log.error("message_dead", queue=incoming.queue, attempt=attempt, reason=_reason(error))
        return Outgoing(
            body=incoming.body,
            routing_key=dead_letter_name(incoming.queue),
            correlation_id=incoming.correlation_id,
            message_type=incoming.message_type,
            timestamp=incoming.timestamp,
            headers={
                ATTEMPT_HEADER: attempt,
                "x-cuepost-reason": _reason(error),
                "x-cuepost-error": type(error).__name__,
                "x-cuepost-queue": incoming.queue,
                "x-cuepost-routing-key": incoming.routing_key,
                "x-cuepost-service": self._service,
                "x-cuepost-died-at": rfc3339(utc_now()),
            },
            mandatory=True,
        )


def _goes_on(error: BaseException) -> bool:
    return isinstance(error, Transient) and error.until is not None and utc_now() < error.until


def _reason(error: BaseException) -> str:
    """Return what may be shown: our own errors' text; of foreign ones only the class, since their text may hold values."""
    if isinstance(error, Permanent | Transient):
        return str(error)[:REASON_LIMIT]
    return type(error).__name__
