"""Telling who asks that everything before the question, in the same queue, was handled: its effects are committed.

A queue that is empty says nothing of what its consumers have in hand. A question stands behind that in the queue, and who consumes
in order answers when it comes to the question. Of several consumers each answers for what it has in hand itself, so an answer names
its consumer: one connection of one process.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4
from weakref import WeakKeyDictionary

from common.messaging.incoming import Incoming
from common.messaging.publisher import MessagePublisher
from common.messaging.reply import Reply
from common.messaging.reply_sending import send_reply
from common.messaging.wire.link import Session

REMEMBERED_S = 60.0
"""Longer than anybody asks for one proof: where a message was sent before that, its queue tells (`held_back_in`)."""


class Assurances:
    """Answers the questions of one queue; `key` is the routing key of the command that asks.

    The reply's body has `consumer`, who answers, `everything`: false when this consumer sends a message to a retry tier or to the
    dead-letter queue, or did so in the last minute, and `failed`: how many it sent there in all. What was sent there before, who
    asks finds in those queues before it asks (`topology.held_back_in`): they outlive this process.
    """

    def __init__(self, key: str, publisher: MessagePublisher) -> None:
        self.key = key
        self._publisher = publisher
        self._names: WeakKeyDictionary[Session, str] = WeakKeyDictionary()
        self._leaving = 0
        self._failed = 0
        self._unsure_until = float("-inf")

    @contextmanager
    def sending_away(self) -> Iterator[None]:
        """Take note of a message that goes to another queue in the block, and is acknowledged there."""
        self._leaving += 1
        self._failed += 1
        try:
            yield
        finally:
            self._leaving -= 1
            self._unsure_until = asyncio.get_running_loop().time() + REMEMBERED_S

    async def answer(self, session: Session, question: Incoming) -> None:
        """Answer a question of this connection; whoever gets no answer asks again, so one that cannot be sent is forgotten."""
        everything = not self._leaving and asyncio.get_running_loop().time() >= self._unsure_until
        consumer = self._names.setdefault(session, uuid4().hex)
        reply = Reply(status=200, body={"consumer": consumer, "everything": everything, "failed": self._failed})
        await send_reply(self._publisher, question, reply)
        await question.acknowledge()
