"""Dead letters for operators, on a real RabbitMQ: looking loses nothing, replaying works, everything is told."""

from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from aio_pika.exceptions import PublishError
from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.queues import WORK_QUEUES
from common.contracts.scheduler import CancelPost
from common.messaging import dead_letter_box as dead_letter_box_module
from common.messaging.dead_letter_box import dead_letter_box
from common.messaging.dead_letter_command import parse_arguments, run
from common.messaging.topology import dead_letter_name
from common.testing.amqp import broker_channel, next_message, send

pytestmark = pytest.mark.integration

HEADERS = {
    "x-cuepost-reason": "number of the beast",
    "x-cuepost-error": "Permanent",
    "x-cuepost-attempt": 3,
    "x-cuepost-died-at": "2026-11-21T00:00:00.000000Z",
}


GARBAGE = b"garbage"
GARBAGE_ID = f"sha256:{sha256(GARBAGE).hexdigest()[:16]}"


def letter() -> Envelope:
    return wrap(CancelPost(post_id=uuid4()), service="gateway", subject="x", context=Context())


@pytest.fixture
async def filled(parts: Any, rabbitmq_url: str) -> Any:
    """Make a work queue with three dead letters, one of them no envelope."""
    envelopes = [letter(), letter()]
    async with broker_channel(rabbitmq_url) as channel:
        for name in (parts.queue, dead_letter_name(parts.queue)):
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        for envelope in envelopes:
            await send(channel, dead_letter_name(parts.queue), envelope, headers=HEADERS)
        await send(channel, dead_letter_name(parts.queue), GARBAGE)
    return envelopes


async def test_looking_keeps_every_letter_with_its_reason(parts: Any, filled: list[Envelope], rabbitmq_url: str) -> None:
    async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
        for _ in range(25):
            shown = await box.show(parts.queue)
        assert await box.count(parts.queue) == 3
    assert [found.id for found in shown] == [str(filled[0].id), str(filled[1].id), GARBAGE_ID]
    assert (shown[0].reason, shown[0].error, shown[0].attempts) == ("number of the beast", "Permanent", 3)
    assert shown[2].reason.startswith("delivered too often")


async def test_one_is_replayed_with_a_fresh_count_and_the_audit_trail_told(
    parts: Any, filled: list[Envelope], rabbitmq_url: str
) -> None:
    async with broker_channel(rabbitmq_url) as channel:
        audit = await channel.declare_queue(f"{parts.queue}.audit", exclusive=True)
        await audit.bind("cuepost.events", "operator.#")
        async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
            lines = await run(box, "replay", parts.queue, [str(filled[1].id)])
            left = await box.show(parts.queue)
        message = await next_message(channel, parts.queue)
        told = Envelope.model_validate_json((await next_message(channel, audit.name)).body)
    assert Envelope.model_validate_json(message.body).id == filled[1].id
    assert "x-cuepost-attempt" not in message.headers
    assert [found.id for found in left] == [str(filled[0].id), GARBAGE_ID]
    assert lines[-1] == f"1 replayed in {parts.queue}"
    assert told.actor == "operator:me"
    assert told.data["details"]["ids"] == [str(filled[1].id)]


async def test_the_audit_trail_is_told_before_anything_is_done(parts: Any, filled: list[Envelope], rabbitmq_url: str) -> None:
    """What breaks off half-way is told of; here the work queue is gone."""
    async with broker_channel(rabbitmq_url) as channel:
        audit = await channel.declare_queue(f"{parts.queue}.audit", exclusive=True)
        await audit.bind("cuepost.events", "operator.#")
        await channel.queue_delete(parts.queue)
        async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
            with pytest.raises(PublishError):
                await box.replay(parts.queue, lambda letter: letter.id == str(filled[0].id))
        told = Envelope.model_validate_json((await next_message(channel, audit.name)).body)
    assert told.data["details"] == {"queue": parts.queue, "count": 1, "ids": [str(filled[0].id)]}


async def test_what_is_no_envelope_can_be_dropped_alone(parts: Any, filled: list[Envelope], rabbitmq_url: str) -> None:
    async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
        lines = await run(box, "drop", parts.queue, [GARBAGE_ID])
        assert lines[-1] == f"1 dropped in {parts.queue}"
        assert GARBAGE_ID in lines[0]
        assert [found.id for found in await box.show(parts.queue)] == [str(envelope.id) for envelope in filled]


async def test_all_are_dropped_and_told_of_however_many_they_are(
    parts: Any, filled: list[Envelope], rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three are more than are shown at once, or told of in one event."""
    async with broker_channel(rabbitmq_url) as channel:
        audit = await channel.declare_queue(f"{parts.queue}.audit", exclusive=True)
        await audit.bind("cuepost.events", "operator.#")
        async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
            assert (await run(box, "show", parts.queue, []))[-1] == f"3 dead letters in {parts.queue}"
            monkeypatch.setattr(dead_letter_box_module, "LIMIT", 1)
            assert (await run(box, "show", parts.queue, []))[-1] == f"1 dead letters in {parts.queue}"
            assert (await run(box, "drop", parts.queue, []))[-1] == f"3 dropped in {parts.queue}"
            assert await box.count(parts.queue) == 0
            assert await run(box, "replay", parts.queue, []) == [f"0 replayed in {parts.queue}"]
        told = [Envelope.model_validate_json((await next_message(channel, audit.name)).body).data["details"] for _ in range(3)]
    ids = [str(filled[1].id), GARBAGE_ID, str(filled[0].id)]
    assert told == [{"queue": parts.queue, "count": 1, "ids": [letter_id]} for letter_id in ids]


async def test_the_list_names_every_queue_also_those_never_declared(parts: Any, rabbitmq_url: str) -> None:
    async with dead_letter_box(SecretStr(rabbitmq_url), operator="me") as box:
        assert await box.count(f"never.{uuid4().hex}") == 0
        lines = await run(box, "list", None, [])
    assert [line.split()[0] for line in lines] == list(WORK_QUEUES)


WRONG_WORDS = [
    ["show"],
    ["replay", "no.such.queue"],
    ["burn", "publisher.post_due"],
    ["drop", "publisher.post_due"],
    ["drop", "publisher.post_due", "some-id", "--all"],
]


@pytest.mark.parametrize("arguments", WRONG_WORDS)
def test_wrong_words_are_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        parse_arguments(arguments)
    assert error.value.code == 2


def test_no_words_mean_the_list() -> None:
    assert (parse_arguments([]).action, parse_arguments([]).queue) == ("list", None)


def test_dropping_all_has_to_be_said() -> None:
    assert parse_arguments(["drop", "publisher.post_due", "--all"]).all
