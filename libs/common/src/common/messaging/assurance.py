"""Telling who asks that everything before the question, in the same queue, was handled: its effects are committed.

A queue that is empty says nothing of what its consumers have in hand. A question stands behind that in the queue, and who consumes
in order answers when it comes to the question. Of several consumers each answers for what it has in hand itself, so an answer names
its consumer: one connection of one process.
"""

import asyncio
from uuid import uuid4
from weakref import WeakKeyDictionary

import structlog

from common.messaging.incoming import Incoming
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.reply import Reply
from common.messaging.topology import RETRY_TIERS
from common.messaging.wire.link import Session

ON_THE_WAY_S = RETRY_TIERS[-1].delay_seconds + 60.0
"""So long after a message was sent to a retry tier it may still be on its way round, and is not handled."""

_log = structlog.get_logger(__name__)


class Assurances:
    """Answers the questions of one queue; `key` is the routing key of the command that asks.

    The reply's body has `consumer`, who answers, and `everything`: false while messages of this consumer are in a retry tier. What
    became a dead letter counts as handled.
    """

    def __init__(self, key: str, publisher: MessagePublisher) -> None:
        self.key = key
        self._publisher = publisher
        self._names: WeakKeyDictionary[Session, str] = WeakKeyDictionary()
        self._unsure_until = float("-inf")

    def note_sent_back(self) -> None:
        """Note that a message goes to a retry tier now."""
        self._unsure_until = asyncio.get_running_loop().time() + ON_THE_WAY_S

    async def answer(self, session: Session, question: Incoming) -> None:
        """Answer a question of this connection; whoever gets no answer asks again, so one that cannot be sent is forgotten."""
        everything = asyncio.get_running_loop().time() >= self._unsure_until
        consumer = self._names.setdefault(session, uuid4().hex)
        if question.reply_to:
            reply = Reply(status=200, body={"consumer": consumer, "everything": everything})
            message = Outgoing(
                body=reply.model_dump_json().encode(),
                routing_key=question.reply_to,
                correlation_id=question.correlation_id,
                persistent=False,
            )
            try:
                await self._publisher.publish(message)
            except Exception as error:  # noqa: BLE001 - see above
                _log.warning("assurance_not_sent", queue=question.queue, reason=type(error).__name__)
        await question.acknowledge()
