"""The same key sent many times at once through two gateways: one effect, one answer, whatever order they arrive in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Column, Integer, Table, Text, func, insert, select

from common.contracts.envelope import Envelope
from common.contracts.scheduler import CancelPost, CreatePost, CreatePosts, RetryPost, UpdatePost
from common.database.database import Database, Transaction
from common.database.tables import inbox_table, new_metadata
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letters import Redelivery
from common.messaging.publisher import MessagePublisher
from common.messaging.reply import Reply
from common.messaging.routes import on_command
from common.messaging.topology import commands_queue
from common.testing.amqp import broker_channel

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"


class CountingService:
    """Takes every command about posts as the scheduler does, stores one row for each effect, and answers with its number."""

    def __init__(self, database: Database, effects: Table) -> None:
        self.database = database
        self.effects = effects

    async def run(self, tx: Transaction, command: Any, envelope: Envelope) -> Reply:
        statement = insert(self.effects).values(name=envelope.key).returning(self.effects.c.id)
        number = await tx.connection.scalar(statement)
        await asyncio.sleep(0)
        return Reply(status=200, body={"effect": number}, headers={"ETag": f'"{number}"'})

    async def count(self) -> int:
        async with self.database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(self.effects)) or 0)


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
    counting = CountingService(database, effects)
    kinds = (CancelPost, CreatePost, CreatePosts, RetryPost, UpdatePost)
    handling = CommandHandling(database, inbox, publisher, [on_command(kind, counting.run) for kind in kinds])
    queue = f"test.keys.{uuid4().hex[:8]}"
    consumers = [Consumer(url, Redelivery(publisher, service="test"), service="test", grace=2.0) for _ in range(2)]
    for consumer in consumers:
        consumer.subscribe(commands_queue(queue, *(kind.KEY for kind in kinds)), handling.handle, on_dead=handling.on_dead)
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


@pytest.fixture
async def second_gateway(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with run_gateway() as client:
        yield client


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "", {"caption": "x"}),
    ("PUT", "/{id}", {"caption": "x"}),
    ("PATCH", "/{id}", {"caption": "x"}),
    ("DELETE", "/{id}", None),
    ("POST", "/{id}/retry", {}),
    ("POST", "/bulk", {"posts": [{"caption": "x"}]}),
]


async def test_concurrent_duplicates_over_two_gateways(
    gateway: Any, second_gateway: Any, service: CountingService, auth: Any
) -> None:
    for number, (method, path, body) in enumerate(REQUESTS, start=1):
        url = POSTS + path.format(id=uuid4())
        headers = {**auth, "Idempotency-Key": "one"}
        sent = (client.request(method, url, json=body, headers=headers) for client in [gateway, second_gateway] * 8)
        answers = await asyncio.gather(*sent)
        assert {(answer.status_code, answer.text, answer.headers["etag"]) for answer in answers} == {
            (200, answers[0].text, answers[0].headers["etag"])
        }, (method, path)
        assert await service.count() == number, (method, path)
        later = await second_gateway.request(method, url, json=body, headers=headers)
        assert later.text == answers[0].text
        if body is not None:
            other = await gateway.request(method, url + "?x=1" if path != "/bulk" else url, json=_other(body), headers=headers)
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert await service.count() == number


def _other(body: dict[str, Any]) -> dict[str, Any]:
    if "posts" in body:
        return {"posts": [{"caption": "y"}]}
    return {"caption": "y"} if body else {"confirm_not_published": True}


async def test_different_bodies_under_one_key_at_the_same_moment_have_one_effect(
    gateway: Any, second_gateway: Any, service: CountingService, auth: Any
) -> None:
    url, headers = f"{POSTS}/{uuid4()}", {**auth, "Idempotency-Key": "two"}
    bodies = [{"caption": "a"}, {"caption": "b"}] * 6
    clients = [gateway, second_gateway, second_gateway, gateway] * 3
    sent = (client.patch(url, json=body, headers=headers) for client, body in zip(clients, bodies, strict=True))
    answers = await asyncio.gather(*sent)
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [422] * 6
    winners = {body["caption"] for answer, body in zip(answers, bodies, strict=True) if answer.status_code == 200}
    assert len(winners) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"idempotency_key_reused"}
    assert await service.count() == 1


async def test_one_key_on_two_posts_and_of_two_users_is_another_key_each(
    gateway: Any, second_gateway: Any, service: CountingService, auth: Any, user_keys: Any
) -> None:
    one, two = uuid4(), uuid4()
    stranger = user_keys.authorization(uuid4(), session_id=str(uuid4()))
    requests = [
        (gateway, "PATCH", f"/{one}", auth),
        (second_gateway, "PATCH", f"/{two}", auth),
        (gateway, "PUT", f"/{one}", auth),
        (second_gateway, "PATCH", f"/{one}", stranger),
        (gateway, "POST", f"/{one}/retry", auth),
        (second_gateway, "POST", f"/{two}/retry", auth),
    ]
    sent = (
        client.request(method, POSTS + path, json={}, headers={**who, "Idempotency-Key": "same"})
        for client, method, path, who in requests
    )
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == len(requests)
    assert await service.count() == len(requests)
