"""Batches at their hard moments: stopped in mid-commit, a delivery abandoned, one bad message among good ones, no database."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.publisher import PublishCancelled
from common.contracts.registry import parse
from common.database.database import Transaction
from common.errors import Permanent
from common.messaging.batches import BatchHandler
from common.messaging.incoming import Incoming
from common.messaging.topology import events_queue
from common.testing.amqp import broker_channel, next_message, running, send

pytestmark = pytest.mark.integration
BEAST = 666


def cancelled(attempt: int = 1) -> Envelope:
    event = PublishCancelled(post_id=uuid4(), attempt=attempt, job_id=uuid4(), account_id=uuid4(), replica="r1")
    return wrap(event, service="publisher", subject=str(event.post_id), context=Context.of_service("publisher"), sequence=1)


def decode(envelope: Envelope) -> PublishCancelled:
    return parse(envelope, PublishCancelled)


class Gate:
    """A batch handler that commits an effect per event once it is let through; `sizes` are those of the batches it saw."""

    def __init__(self, parts: Any, *, is_open: bool = False) -> None:
        self.parts = parts
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.sizes: list[int] = []
        self.failures: list[Exception] = []
        if is_open:
            self.opened.set()

    async def handle(self, tx: Transaction, batch: Sequence[tuple[PublishCancelled, Envelope]]) -> None:
        self.sizes.append(len(batch))
        for event, envelope in batch:
            if event.attempt == BEAST:
                raise Permanent("number of the beast")
            await self.parts.effect(tx, str(envelope.id))
        self.entered.set()
        await self.opened.wait()
        if self.failures:
            raise self.failures.pop(0)

    def batches(self) -> BatchHandler[PublishCancelled]:
        return BatchHandler(self.parts.queue, self.parts.database, self.parts.inbox, decode=decode, handle=self.handle)

    def deliver(self, batches: BatchHandler[PublishCancelled], envelope: Envelope) -> asyncio.Task[None]:
        """One delivery, waiting for the commit of its batch as a consumer does."""
        message = cast("Any", SimpleNamespace(body=envelope.model_dump_json().encode()))

        async def wait() -> None:
            await batches.handle(Incoming(message, self.parts.queue, 0))

        return asyncio.create_task(wait())

    async def behind_the_first(
        self, batches: BatchHandler[PublishCancelled], *envelopes: Envelope
    ) -> list[asyncio.Task[None]]:
        """Deliver one message and, while its commit hangs, the others: they make up the next batch."""
        tasks = [self.deliver(batches, cancelled())]
        await asyncio.wait_for(self.entered.wait(), 10)
        tasks += [self.deliver(batches, envelope) for envelope in envelopes]
        await asyncio.sleep(0)
        return tasks


async def test_it_is_unhealthy_until_it_runs_and_stopping_before_that_is_harmless(parts: Any) -> None:
    batches = Gate(parts).batches()
    assert batches.healthy() == "not running"
    await batches.stop()
    async with running(batches):
        assert batches.healthy() is None
    assert batches.healthy() == "not running"


async def test_stopped_in_mid_commit_it_hands_back_all_and_a_later_one_handles_each_once(
    parts: Any, rabbitmq_url: str
) -> None:
    hanging, working = Gate(parts), Gate(parts, is_open=True)
    sent = [cancelled(), cancelled()]
    async with broker_channel(rabbitmq_url) as channel:
        batches, consumer = hanging.batches(), parts.consumer(grace=0.2)
        consumer.subscribe(events_queue(parts.queue), batches.handle)
        async with running(batches, consumer):
            for envelope in sent:
                await send(channel, parts.queue, envelope)
            await asyncio.wait_for(hanging.entered.wait(), 10)
        assert await parts.effects_seen() == []
        bodies = [(await next_message(channel, parts.queue)).body for _ in sent]
        assert {Envelope.model_validate_json(body).id for body in bodies} == {envelope.id for envelope in sent}
    again = working.batches()
    async with running(again):
        await asyncio.gather(*(working.deliver(again, envelope) for envelope in sent))
    assert sorted(await parts.effects_seen()) == sorted(str(envelope.id) for envelope in sent)


async def test_stopping_abandons_what_is_in_hand_and_what_still_waits(parts: Any) -> None:
    gate = Gate(parts)
    batches = gate.batches()
    await batches.start()
    tasks = await gate.behind_the_first(batches, cancelled(), cancelled())
    await batches.stop()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
    assert gate.sizes == [1]
    assert await parts.effects_seen() == []


async def test_a_bad_message_fails_alone_and_an_abandoned_delivery_fails_nobody(parts: Any) -> None:
    gate = Gate(parts)
    batches = gate.batches()
    async with running(batches):
        good, abandoned = cancelled(), cancelled()
        tasks = await gate.behind_the_first(batches, good, cancelled(BEAST), abandoned, cancelled(BEAST))
        _, first, bad, gone, bad_and_gone = tasks
        gone.cancel()
        bad_and_gone.cancel()
        gate.opened.set()
        await asyncio.wait_for(first, 10)
        with pytest.raises(Permanent, match="beast"):
            await asyncio.wait_for(bad, 10)
        # An abandoned delivery comes again; the inbox knows then that it was handled.
        await asyncio.wait_for(gate.deliver(batches, abandoned), 10)
    assert gate.sizes == [1, 4, 1, 1, 1, 1]
    effects = await parts.effects_seen()
    assert len(effects) == 3
    assert effects.count(str(abandoned.id)) == 1


async def test_without_a_database_the_whole_batch_fails_at_once(parts: Any) -> None:
    gate = Gate(parts)
    batches = gate.batches()
    async with running(batches):
        tasks = await gate.behind_the_first(batches, cancelled(), cancelled(), cancelled())
        gate.failures = [OSError("connection refused"), OSError("connection refused")]
        gate.opened.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [str(outcome) for outcome in outcomes] == ["connection refused"] * 4
    assert gate.sizes == [1, 3]
    assert await parts.effects_seen() == []
