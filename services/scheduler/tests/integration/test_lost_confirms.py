"""A gateway that loses its connection between sending a command and the confirm: the command runs, and once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.database.database import Database
from common.messaging.command_client import CommandAccepted, CommandClient
from common.messaging.reply import Reply
from common.messaging.reply_rows import stored_reply
from common.testing.eventually import eventually
from common.testing.tcp_gate import TcpGate, tcp_gate
from scheduler.storage.tables import inbox

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(loop_scope="session")
async def sender(rabbitmq_url: str) -> AsyncIterator[tuple[CommandClient, TcpGate]]:
    async with tcp_gate(rabbitmq_url) as (gate, address):
        client = CommandClient(SecretStr(address), prefix="gateway.replies", instance="gated", timeout=1.0)
        await client.start()
        yield client, gate
        await client.stop()


def envelope_of(author: Any) -> Envelope:
    context = Context(user_id=author.user_id, actor=f"user:{author.user_id}", correlation_id="test")
    return wrap(author.body(), service="gateway", subject="x", context=context, request_hash="h")


async def answer_of(database: Database, envelope: Envelope) -> Reply | None:
    assert envelope.userid is not None
    async with database.read() as connection:
        return await stored_reply(connection, inbox, envelope.id, envelope.userid)


async def test_the_broker_has_it_but_its_confirm_is_lost(
    world: Any, author: Any, sender: tuple[CommandClient, TcpGate]
) -> None:
    client, gate = sender
    envelope = envelope_of(author)
    gate.answering.clear()
    with pytest.raises(CommandAccepted):
        await client.call(envelope)
    stored = await eventually(lambda: answer_of(world.database, envelope))
    assert stored is not None
    assert stored.status == 201
    assert len(client._unconfirmed) == 1
    gate.cut()
    gate.mend()
    # It is sent again, and its repeat handled before a later command of the same queue is answered.
    await eventually(lambda: client._unconfirmed == {} and client.healthy() is None)
    later = await author.create(caption="later", allow_duplicate=True)
    assert later.status == 201
    assert await world.counts() == {"scheduled": 2}
    assert await answer_of(world.database, envelope) == stored


async def test_it_never_reached_the_broker(world: Any, author: Any, sender: tuple[CommandClient, TcpGate]) -> None:
    client, gate = sender
    envelope = envelope_of(author)
    gate.open.clear()
    calling = asyncio.create_task(client.call(envelope))
    await eventually(lambda: len(client._unconfirmed) == 1)
    gate.cut()
    with pytest.raises(CommandAccepted):
        await calling
    assert await world.counts() == {}
    gate.mend()
    stored = await eventually(lambda: answer_of(world.database, envelope))
    assert stored is not None
    assert stored.status == 201
    assert await world.counts() == {"scheduled": 1}
