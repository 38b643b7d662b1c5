"""A service that takes every command and counts its effects, and a second gateway in front of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import Request, Response
from pydantic import SecretStr
from sqlalchemy import Column, Integer, Table, Text, func, insert, select

from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.contracts.registry import COMMANDS
from common.database.database import Database, Transaction
from common.database.tables import inbox_table, new_metadata
from common.http.json_response import json_response
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.publisher import MessagePublisher
from common.messaging.reply import Reply
from common.messaging.reply_rows import stored_reply
from common.messaging.routes import on_command
from common.messaging.topology import commands_queue
from common.testing.amqp import broker_channel
from gateway.domain.operation_id import decode_operation


class CountingService:
    """Takes every command as its service does, stores one row for each effect, and answers with its number."""

    def __init__(self, database: Database, inbox: Table, effects: Table) -> None:
        self.database = database
        self.inbox = inbox
        self.effects = effects
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.failure: Exception | None = None

    async def run(self, tx: Transaction, command: Any, envelope: Envelope) -> Reply:
        statement = insert(self.effects).values(name=envelope.key).returning(self.effects.c.id)
        number = await tx.connection.scalar(statement)
        await self.may_go_on.wait()
        if self.failure is not None:
            raise self.failure
        return Reply(status=200, body={"effect": number}, headers={"ETag": f'"{number}"'})

    async def count(self) -> int:
        async with self.database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self.effects)) or 0)

    async def answer_operation(self, services: Any, location: str, user_id: UUID) -> None:
        """Have the operation at `location` answered from what is stored, as the service's internal route does."""
        operation = decode_operation(location.rsplit("/", 1)[1], bytes(range(32)), now=utc_now(), lifetime=timedelta(days=1))
        assert operation is not None

        async def respond(_: Request) -> Response:
            async with self.database.read() as connection:
                reply = await stored_reply(connection, self.inbox, operation.command_id, user_id)
            if reply is None:
                return json_response({"code": "operation_pending", "status": 404}, status=404)
            return json_response(reply.model_dump(mode="json"))

        services.answers["GET", f"/internal/operations/{operation.command_id}"] = respond


@pytest.fixture
async def service(empty_database: Any, rabbitmq_url: str) -> AsyncIterator[CountingService]:
    database = Database(await empty_database("keys"), application_name="test", pool_size=20)
    metadata = new_metadata()
    inbox = inbox_table(metadata)
    effects = Table("effects", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    url = SecretStr(rabbitmq_url)
    publisher = MessagePublisher(url, service="test")
    counting = CountingService(database, inbox, effects)
    handling = CommandHandling(database, inbox, publisher, [on_command(kind, counting.run) for kind in COMMANDS.values()])
    queue = f"test.keys.{uuid4().hex[:8]}"
    consumers = [Consumer(url, Redelivery(publisher, service="test"), service="test", grace=2.0) for _ in range(2)]
    for consumer in consumers:
        consumer.subscribe(commands_queue(queue, *COMMANDS), handling.handle, on_dead=handling.on_dead)
    await publisher.start()
    for consumer in consumers:
        await consumer.start()
    yield counting
    for consumer in consumers:
        await consumer.stop()
    await publisher.stop()
    await database.stop()
    async with broker_channel(rabbitmq_url) as channel:
        for leftover in (queue, f"{queue}.dead"):
            await channel.queue_delete(leftover)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def first_gateway(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a gateway that waits for its answers however busy the machine is."""
    async with run_gateway(command_timeout_seconds=15) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def second_gateway(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give another one."""
    async with run_gateway(command_timeout_seconds=15) as client:
        yield client
