"""Who asks whether everything is stored is answered behind it, also when the trail cannot be written for long."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from sqlalchemy import text

from analytics.storage.records import LOCK_KEY
from common.contracts.analytics import ConfirmStored
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.messaging.reply import Reply
from common.messaging.topology import COMMANDS
from common.testing.amqp import broker_channel, next_message
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    async with broker_channel(broker_url) as opened:
        yield opened


async def ask(channel: AbstractChannel, replies: str) -> None:
    question = wrap(ConfirmStored(), service="gateway", subject="trail", context=Context.of_service("gateway"))
    exchange = await channel.get_exchange(COMMANDS.name)
    message = aio_pika.Message(question.to_bytes(), reply_to=replies, correlation_id="asked")
    await exchange.publish(message, routing_key=question.key, mandatory=True)


async def test_it_is_answered_when_what_was_told_before_is_in_the_trail(analytics: Any, channel: AbstractChannel) -> None:
    """Somebody holds the end of the chain, and everything that was taken from the queue waits for that."""
    replies = await channel.declare_queue(exclusive=True)
    async with analytics.database.transaction() as tx:
        await tx.connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        await analytics.tell(*(analytics.scheduled(uuid4()) for _ in range(3)))
        await ask(channel, replies.name)

        async def somebody_waits() -> bool:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            async with analytics.database.read() as connection:
                assert await connection.scalar(text(query))
            return True

        async def queue_is_empty() -> bool:
            declared = await channel.declare_queue("analytics.all_events", passive=True)
            assert declared.declaration_result.message_count == 0
            return True

        await eventually(somebody_waits)
        await eventually(queue_is_empty)
        assert await analytics.stored() == 0
        assert (await channel.declare_queue(replies.name, passive=True)).declaration_result.message_count == 0
    answer = await next_message(channel, replies.name, timeout=60)
    assert await analytics.stored() == 3, "the question is no event, and is not stored"
    body = Reply.model_validate_json(answer.body).body
    assert (body or {})["everything"] is True
