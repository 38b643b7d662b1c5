"""Every event is stored once, whatever its shape, its order and how often it comes; what is no event ends as a dead letter."""

import random
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from common.contracts.envelope import Envelope
from common.ids import uuid7
from common.messaging.dead_letter_box import dead_letter_box
from common.testing.amqp import broker_channel, next_message
from common.testing.eventually import eventually

QUEUE = "analytics.all_events"

pytestmark = pytest.mark.integration


def unknown(data: dict[str, Any], **attributes: Any) -> Envelope:
    return Envelope.model_validate(
        {"id": uuid7(), "type": "cuepost.billing.invoice.paid.v1", "source": "/services/billing", "subject": "i"}
        | {"time": "2026-11-21T07:00:00Z", "data": data}
        | attributes
    )


async def test_duplicates_and_reordering_change_nothing(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    told = [analytics.scheduled(user, post_id=post, sequence=number) for number in range(30)] + [analytics.started(post, user)]
    await analytics.tell(*told)
    await analytics.stored_exactly(31)
    before = await analytics.rows()

    again = told * 3
    random.Random(7).shuffle(again)
    last = analytics.scheduled(user)
    await analytics.tell(*again, last)
    await analytics.stored_exactly(32)

    assert [row for row in await analytics.rows() if row["id"] != last.id] == before
    assert await analytics.proven() == 32


async def test_a_repeat_with_other_content_does_not_change_what_is_stored(analytics: Any) -> None:
    first = unknown({"amount": 1})
    await analytics.tell(first)
    await analytics.stored_exactly(1)
    await analytics.tell(unknown({"amount": 2}, id=first.id, time="2020-01-01T00:00:00Z"), last := unknown({}))
    await analytics.stored_exactly(2)
    assert {row["id"]: row["data"] for row in await analytics.rows()} == {first.id: {"amount": 1}, last.id: {}}


async def test_an_event_of_an_unknown_type_is_kept_with_all_it_says(analytics: Any) -> None:
    user = uuid4()
    event = unknown({"invoice_id": "7", "deep": {"list": [1, None, 1.5]}}, userid=user, sequence="9999999999", actor="user:x")
    await analytics.tell(event)
    await analytics.stored_exactly(1)
    row = (await analytics.rows())[0]
    assert row["key"] == "billing.invoice.paid.v1"
    assert row["sequence"] == 9_999_999_999
    assert (row["action"], row["object_id"], row["user_id"]) == ("invoice.paid", "7", user)
    assert row["data"] == event.data


async def test_what_postgresql_cannot_keep_is_kept_in_another_form(analytics: Any) -> None:
    body = unknown({"text": "MARK", "number": 7}, subject="s").to_bytes()
    odd = body.replace(b'"MARK"', rb'"a\u0000b"').replace(b'"number":7', b'"number":NaN,"big":' + b"9" * 40)
    await analytics.tell(odd, analytics.scheduled(uuid4()), odd="billing.invoice.paid.v1")
    await analytics.stored_exactly(2)
    data = next(row["data"] for row in await analytics.rows() if row["subject"] == "s")
    assert data == {"text": "a\ufffdb", "number": None, "big": "9" * 40}
    assert await analytics.proven() == 2


async def test_an_id_that_tells_no_time_is_stored_once_too(analytics: Any) -> None:
    event = unknown({}, id=uuid4())
    await analytics.tell(event, event, last := unknown({}))
    await analytics.stored_exactly(2)
    assert {row["id"] for row in await analytics.rows()} == {event.id, last.id}
    assert await analytics.proven() == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\x00 no json", "not an envelope: body"),
        (b"[]", "not an envelope: body"),
        (b'{"specversion":"1.0","id":"x"}', "not an envelope: id, type, source, subject, time, data"),
        (unknown({}).to_bytes().replace(b"07:00:00Z", b"07:00:00"), "not an envelope: time has no offset"),
        (unknown({"secret": "S"}).to_bytes().replace(b'"S"', rb'"\ud800"'), "not an envelope: body"),
        (unknown({}).to_bytes(), "it came as odd.body.sent.v1, and says that it is billing.invoice.paid.v1"),
    ],
)
async def test_a_poison_message_in_a_batch_ends_as_a_dead_letter_and_stops_no_other(
    analytics: Any, broker_url: str, body: bytes, reason: str
) -> None:
    user = uuid4()
    good = [analytics.scheduled(user) for _ in range(20)]
    await analytics.tell(*good[:10], body, *good[10:])
    await analytics.stored_exactly(20)
    async with broker_channel(broker_url) as channel:
        dead = await next_message(channel, f"{QUEUE}.dead")
    assert dead.body == body
    assert dead.headers["x-cuepost-reason"] == reason
    assert dead.headers["x-cuepost-queue"] == QUEUE
    assert dead.headers["x-cuepost-service"] == "analytics"


async def test_what_operators_do_with_dead_letters_is_in_the_trail(analytics: Any, broker_url: str) -> None:
    await analytics.tell(b"no json", b"no json either")
    async with dead_letter_box(SecretStr(broker_url), operator="ada") as box:

        async def both() -> bool:
            return await box.count(QUEUE) == 2

        await eventually(both)
        replayed = await box.replay(QUEUE, lambda letter: letter.body == b"no json")
        await eventually(both)
        await box.drop(QUEUE, lambda _: True)
    await analytics.stored_exactly(2)
    rows = sorted(await analytics.rows(), key=lambda row: row["seq"])
    assert [(row["action"], row["actor"], row["object_id"], row["result"]) for row in rows] == [
        ("system.dead_letters_replayed", "operator:ada", QUEUE, "success"),
        ("system.dead_letters_dropped", "operator:ada", QUEUE, "success"),
    ]
    assert rows[0]["data"]["details"] == {"queue": QUEUE, "count": 1, "ids": [replayed[0].id]}
    assert rows[1]["data"]["details"]["count"] == 2


async def test_nothing_is_left_unacknowledged(analytics: Any, broker_url: str) -> None:
    await analytics.tell(*(analytics.scheduled(uuid4()) for _ in range(600)))
    await analytics.stored_exactly(600)
    async with broker_channel(broker_url) as channel:

        async def empty() -> bool:
            declared = await channel.declare_queue(QUEUE, passive=True)
            return declared.declaration_result.message_count == 0

        await eventually(empty)
