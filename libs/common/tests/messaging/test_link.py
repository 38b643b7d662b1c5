"""The publishing connection: nobody there, there later, gone again."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.wire import link
from common.messaging.wire.frames import Publication
from common.testing.amqp import running
from common.testing.http_server import free_port
from common.testing.tcp_gate import tcp_gate

pytestmark = pytest.mark.integration


async def test_the_start_fails_when_nobody_is_there_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "START_PATIENCE_S", 0.3)
    publisher = MessagePublisher(SecretStr(f"amqp://guest:guest@127.0.0.1:{free_port()}/"), service="test")
    with pytest.raises(TimeoutError):
        await publisher.start()
    assert await publisher.check() == "not connected"
    outcomes = await publisher.publish_all([Publication("cuepost.events", "a.b", b"", "t", 0)], timeout=0.05)
    assert isinstance(outcomes.failure, TimeoutError)
    assert outcomes.unknown == [0]


async def test_it_waits_at_the_start_and_while_the_broker_is_away(rabbitmq_url: str) -> None:
    async with tcp_gate(rabbitmq_url) as (gate, address):
        gate.refusing = True
        publisher = MessagePublisher(SecretStr(address), service="test")
        starting = asyncio.create_task(publisher.start())
        publishing = asyncio.create_task(publisher.publish(Outgoing(body=b"x", routing_key="nobody"), timeout=20.0))
        gate.mend()
        await asyncio.gather(starting, publishing)
        gate.cut()
        again = asyncio.create_task(publisher.publish(Outgoing(body=b"x", routing_key="nobody"), timeout=20.0))
        gate.mend()
        await asyncio.gather(again, return_exceptions=True)
        await publisher.publish(Outgoing(body=b"x", routing_key="nobody"))
        assert await publisher.check() is None
        await publisher.stop()


async def test_a_hung_broker_does_not_answer_and_does_not_keep_the_stop(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.messaging.connection.PROBE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(link, "CLOSE_TIMEOUT_S", 0.2)
    async with tcp_gate(rabbitmq_url) as (gate, address):
        publisher: Any = MessagePublisher(SecretStr(address), service="test")
        async with running(publisher):
            gate.open.clear()
            assert await publisher.check() == "broker does not answer: TimeoutError"
            stopping = asyncio.create_task(publisher.stop())
            await asyncio.wait_for(stopping, 60)


async def test_whoever_does_not_get_a_turn_in_time_has_sent_nothing_and_costs_no_connection(rabbitmq_url: str) -> None:
    publisher: Any = MessagePublisher(SecretStr(rabbitmq_url), service="test")
    async with running(publisher):
        session = await publisher._link.connected()
        async with publisher._in_turn:
            outcomes = await publisher.publish_all([Publication("cuepost.events", "a.b", b"", "t", 0)], timeout=0.05)
        assert isinstance(outcomes.failure, TimeoutError)
        assert outcomes.unknown == [0]
        await publisher.publish(Outgoing(body=b"x", routing_key="nobody"))
        assert await publisher._link.connected() is session
