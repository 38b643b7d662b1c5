"""Asking RabbitMQ how full the publisher's queue is."""

import asyncio

import aio_pika
import pytest
from pydantic import SecretStr

from common.testing.amqp import broker_channel
from common.testing.eventually import eventually
from scheduler.clients.intake_queue import PublisherIntake

pytestmark = pytest.mark.integration


async def _answers(intake: PublisherIntake) -> bool:
    return await intake.waiting() == 0


async def test_counts_what_waits(rabbitmq_url: str) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue("test.scheduler.intake", auto_delete=True, exclusive=False)
        intake = PublisherIntake(SecretStr(rabbitmq_url), queue=queue.name)
        await intake.start()
        for waiting in range(3):
            assert await intake.waiting() == waiting
            await channel.default_exchange.publish(aio_pika.Message(b"x"), routing_key=queue.name)
        await queue.delete(if_unused=False, if_empty=False)
        assert await intake.waiting() is None
        again = await channel.declare_queue("test.scheduler.intake", auto_delete=True)
        assert await intake.waiting() is None, "asked again only after a pause"
        await eventually(lambda: _answers(intake))
        await again.delete()
        await intake.stop()
        await intake.stop()


async def test_a_broker_that_is_away_is_unknown() -> None:
    intake = PublisherIntake(SecretStr("amqp://guest:guest@127.0.0.1:1/"))
    assert await intake.waiting() is None
    assert await intake.waiting() is None
    await intake.stop()


async def test_a_question_that_fails_drops_the_connection(rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue("test.scheduler.intake", auto_delete=True)
        intake = PublisherIntake(SecretStr(rabbitmq_url), queue=queue.name)
        assert await intake.waiting() == 0
        first = intake._connection

        async def fail() -> int:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr(intake, "_ask", fail)
            assert await intake.waiting() is None
        assert first is not None
        assert first.is_closed
        await eventually(lambda: _answers(intake))
        await intake.stop()
        await queue.delete()


async def test_a_cut_connection_is_made_anew(rabbitmq_url: str) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        queue = await channel.declare_queue("test.scheduler.intake", auto_delete=True)
        intake = PublisherIntake(SecretStr(rabbitmq_url), queue=queue.name)
        assert await intake.waiting() == 0
        assert intake._connection is not None
        await intake._connection.close(asyncio.CancelledError)
        assert await intake.waiting() == 0
        await intake.stop()
        await queue.delete()
