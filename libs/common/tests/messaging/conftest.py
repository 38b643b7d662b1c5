"""A small service of real parts: one database with outbox, inbox and a table of effects; one RabbitMQ."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from common.database.database import Database, Transaction, async_url
from common.database.tables import inbox_table, new_metadata, outbox_table
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.inbox import Inbox
from common.messaging.outbox import Outbox
from common.messaging.publisher import MessagePublisher
from common.messaging.relay import Relay
from common.testing.amqp import broker_channel


@dataclass
class Parts:
    """Everything a service wires, on real servers."""

    amqp_url: SecretStr
    database: Database
    metadata: MetaData
    outbox_table: Table
    inbox_table: Table
    effects: Table
    publisher: MessagePublisher
    relay: Relay
    outbox: Outbox
    inbox: Inbox
    redelivery: Redelivery
    queue: str

    def consumer(self, **options: Any) -> Consumer:
        return Consumer(self.amqp_url, self.redelivery, service="test", grace=options.pop("grace", 2.0), **options)

    async def effect(self, tx: Transaction, name: str) -> None:
        await tx.connection.execute(insert(self.effects).values(name=name))

    async def effects_seen(self) -> list[str]:
        async with self.database.read() as connection:
            return list(await connection.scalars(select(self.effects.c.name).order_by(self.effects.c.id)))


@pytest.fixture
async def parts(postgres_url: str, rabbitmq_url: str) -> AsyncIterator[Parts]:
    name = f"messaging_{uuid4().hex[:12]}"
    admin = create_async_engine(async_url(postgres_url), isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text(f'CREATE DATABASE "{name}"'))
    database = Database(async_url(postgres_url).set(database=name).render_as_string(hide_password=False), application_name="t")
    metadata = new_metadata()
    outbox, inbox = outbox_table(metadata), inbox_table(metadata)
    effects = Table("effects", metadata, Column("id", Integer, primary_key=True), Column("name", Text, unique=False))
    async with database.engine.begin() as begun:
        await begun.run_sync(metadata.create_all)
    url = SecretStr(rabbitmq_url)
    publisher = MessagePublisher(url, service="test")
    await publisher.start()
    relay = Relay(database, outbox, publisher)
    queue = f"test.{uuid4().hex[:8]}"
    yield Parts(
        amqp_url=url,
        database=database,
        metadata=metadata,
        outbox_table=outbox,
        inbox_table=inbox,
        effects=effects,
        publisher=publisher,
        relay=relay,
        outbox=Outbox(outbox, service="test", wake=relay.wake),
        inbox=Inbox(inbox),
        redelivery=Redelivery(publisher, service="test"),
        queue=queue,
    )
    await publisher.stop()
    await database.stop()
    async with broker_channel(rabbitmq_url) as channel:
        for leftover in (queue, f"{queue}.dead"):
            await channel.queue_delete(leftover)
    async with admin.connect() as connection:
        await connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    await admin.dispose()
