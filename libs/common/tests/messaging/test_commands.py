"""Commands and their replies on real servers: one effect per id, the same answer for a repeat, honest refusals."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import aio_pika
import pytest
from aiormq.exceptions import ChannelPreconditionFailed
from sqlalchemy import func, update

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.scheduler import CancelPost, PublishPostNow
from common.database.database import Transaction
from common.errors import Problem
from common.messaging.command_client import CommandAccepted, CommandClient, CommandUnavailable
from common.messaging.commands import CommandHandling
from common.messaging.consumer import Consumer
from common.messaging.dead_letter_box import dead_letter_box
from common.messaging.incoming import HANDLED_DELIVERIES, Incoming, UnknownSender
from common.messaging.reply import Reply
from common.messaging.reply_rows import stored_reply
from common.messaging.routes import on_command, on_prepared_command
from common.messaging.topology import commands_queue
from common.testing.amqp import broker_channel, next_message, running, send
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration

USER = uuid4()


def command(command_id: UUID | None = None, *, request_hash: str = "h1", user: UUID = USER) -> Envelope:
    message = CancelPost(post_id=uuid4())
    context = Context(user_id=user, actor=f"user:{user}", correlation_id="c1")
    return wrap(message, service="gateway", subject="x", context=context, envelope_id=command_id, request_hash=request_hash)


class Service:
    """A service that takes one command, scripted by the test."""

    def __init__(self, parts: Any) -> None:
        self.parts = parts
        self.answer: Reply | Exception = Reply(status=201, body={"ok": True}, headers={"ETag": '"1"'})
        self.gate = asyncio.Event()
        self.gate.set()
        self.prepared = 0
        self.on_prepare: Callable[[PublishPostNow, Envelope], Awaitable[str]] | None = None
        self.commands = CommandHandling(
            parts.database,
            parts.inbox_table,
            parts.publisher,
            [on_command(CancelPost, self.run), on_prepared_command(PublishPostNow, self.prepare, self.run_prepared)],
        )

    async def run(self, tx: Transaction, command: CancelPost, envelope: Envelope) -> Reply:
        await self.parts.effect(tx, str(envelope.id))
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def prepare(self, command: PublishPostNow, envelope: Envelope) -> str:
        self.prepared += 1
        return "prepared" if self.on_prepare is None else await self.on_prepare(command, envelope)

    async def run_prepared(self, tx: Transaction, command: PublishPostNow, envelope: Envelope, prepared: str) -> Reply:
        await self.parts.effect(tx, prepared)
        return Reply(status=200, body={"prepared": prepared})

    def consumer(self) -> Consumer:
        consumer: Consumer = self.parts.consumer()
        spec = commands_queue(self.parts.queue, CancelPost.KEY, PublishPostNow.KEY)
        consumer.subscribe(spec, self.commands.handle, on_dead=self.commands.on_dead)
        return consumer

    async def stored(self, envelope: Envelope, user: UUID = USER) -> Reply | None:
        async with self.parts.database.read() as connection:
            return await stored_reply(connection, self.parts.inbox_table, envelope.id, user)


@pytest.fixture
def service(parts: Any) -> Service:
    return Service(parts)


def client_of(parts: Any, *, timeout: float = 30.0) -> CommandClient:
    return CommandClient(parts.amqp_url, prefix="gateway.replies", instance=uuid4().hex[:6], timeout=timeout)


async def test_a_command_is_answered_and_its_reply_stored(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts), command()
    async with running(service.consumer(), client):
        assert client.healthy() is None
        reply = await client.call(envelope)
    assert reply == service.answer
    assert await service.stored(envelope) == reply
    assert await service.stored(envelope, user=uuid4()) is None
    assert client.healthy() == "not connected"


async def test_a_hundred_at_once_wait_for_none_other(parts: Any, service: Service) -> None:
    client = client_of(parts)
    async with running(service.consumer(), client):
        replies = await asyncio.gather(*(client.call(command()) for _ in range(100)))
    assert {reply.status for reply in replies} == {201}
    assert len(await parts.effects_seen()) == 100


async def test_a_repeat_gets_the_same_answer_and_no_second_effect(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts), command()
    async with running(service.consumer(), client):
        first = await client.call(envelope)
        service.answer = Reply(status=200, body={"other": True})
        again = await client.call(envelope)
        reused = await client.call(envelope.model_copy(update={"requesthash": "h2"}))
    assert first == again
    assert (reused.status, reused.body and reused.body["code"]) == (422, "idempotency_key_reused")
    assert await service.stored(envelope) == first
    assert await parts.effects_seen() == [str(envelope.id)]


async def test_concurrent_repeats_wait_and_are_answered_alike(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts), command()
    service.gate.clear()
    async with running(service.consumer(), client):
        calls = [asyncio.create_task(client.call(envelope)) for _ in range(5)]
        await eventually(lambda: len(client._futures) == 5)
        service.gate.set()
        replies = await asyncio.gather(*calls)
    assert all(reply == service.answer for reply in replies)
    assert await parts.effects_seen() == [str(envelope.id)]


async def test_a_refusal_has_no_effect_is_shown_and_judged_anew(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts), command()
    async with running(service.consumer(), client):
        service.answer = Problem(409, "media_not_ready", "Wait.", headers={"Retry-After": "1"})
        refused = await client.call(envelope)
        kept = await service.stored(envelope)
        service.answer = Reply(status=201, body={"ok": True})
        accepted = await client.call(envelope)
        service.answer = Problem(409, "too_late", "No.")
        again = await client.call(envelope)
    assert (refused.status, refused.headers) == (409, {"Retry-After": "1"})
    assert kept == refused
    assert accepted.status == again.status == 201
    assert await parts.effects_seen() == [str(envelope.id)]


async def test_an_answer_that_changed_nothing_is_shown_and_judged_anew(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts), command()
    async with running(service.consumer(), client):
        service.answer = Reply(status=200, body={"created": 0}, replayable=False)
        nothing = await client.call(envelope)
        kept = await service.stored(envelope)
        service.answer = Reply(status=200, body={"created": 1})
        other = envelope.model_copy(update={"requesthash": "h2"})
        made = await client.call(other)
        assert await client.call(other) == made
        reused = await client.call(envelope)
    assert (nothing.body, made.body) == ({"created": 0}, {"created": 1})
    assert kept == nothing
    assert (reused.status, reused.body and reused.body["code"]) == (422, "idempotency_key_reused")


def delivered(envelope: Envelope, reply_to: str | None = "asker", **headers: int) -> Incoming:
    """Return a delivery of a command; its answer goes to a queue that is not there."""

    async def acknowledge() -> None: ...

    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Incoming("q", envelope.to_bytes(), acknowledge, envelope.key, reply_to=reply_to, headers=names)


@pytest.mark.parametrize(
    "refusal", [Problem(409, "account_not_active", "No."), Reply(status=200, body={"created": 0}, replayable=False)]
)
async def test_what_was_told_stays_true_when_the_command_comes_again_by_itself(
    parts: Any, service: Service, refusal: Problem | Reply
) -> None:
    """Only who asked may try again: its client may have done so meanwhile, with another command."""
    envelope = command()
    service.answer = refusal
    await service.commands.handle(delivered(envelope))
    told = await service.stored(envelope)
    effects = await parts.effects_seen()
    service.answer = Reply(status=201, body={"ok": True})
    again: tuple[dict[str, Any], ...] = ({"reply_to": None}, {"x_delivery_count": 1}, {"x_cuepost_attempt": 1})
    for way in again:
        await service.commands.handle(delivered(envelope, **way))
        assert await service.stored(envelope) == told
    earlier = envelope.model_copy(update={"time": envelope.time - timedelta(seconds=9)})
    await service.commands.handle(delivered(earlier, reply_to=None))
    assert await service.stored(envelope) == told
    assert await parts.effects_seen() == effects
    # A client's repeat is judged, however it comes.
    for number, way in enumerate(again, 1):
        service.answer = Reply(status=200, body={"repeat": number}, replayable=False)
        repeat = envelope.model_copy(update={"time": envelope.time + timedelta(microseconds=number)})
        await service.commands.handle(delivered(repeat, **way))
        assert await service.stored(envelope) == service.answer.model_copy(update={"replayable": True})
    service.answer = Reply(status=201, body={"ok": True})
    # A kept copy of another request with this key was never judged.
    await service.commands.handle(delivered(envelope.model_copy(update={"requesthash": "h2"}), reply_to=None))
    assert await service.stored(envelope) == service.answer


async def test_what_failed_is_judged_when_an_operator_replays_it(parts: Any, service: Service) -> None:
    envelope = command()
    await service.commands.on_dead(delivered(envelope))
    failed = await service.stored(envelope)
    await service.commands.handle(delivered(envelope, reply_to=None))
    assert (failed and failed.status, await service.stored(envelope)) == (500, service.answer)


async def test_a_refusal_beside_a_copy_that_succeeded_is_not_told(
    parts: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ran at once, as after a connection lost with the command in hand: it has an effect, so that is the answer."""
    told: list[Reply] = []

    async def hear(_: Any, __: Incoming, reply: Reply) -> None:
        told.append(reply)

    monkeypatch.setattr("common.messaging.commands.send_reply", hear)
    envelope = wrap(PublishPostNow(post_id=uuid4()), service="gateway", subject="x", context=Context(user_id=USER))

    async def refused_late(_: PublishPostNow, envelope: Envelope) -> str:
        monkeypatch.setattr(service, "on_prepare", None)
        await service.commands.handle(delivered(envelope, x_delivery_count=1))
        raise Problem(503, "publisher_unavailable", "Away.")

    service.on_prepare = refused_late
    await service.commands.handle(delivered(envelope))
    assert [reply.status for reply in told] == [200, 200]
    assert await parts.effects_seen() == ["prepared"]


async def test_a_key_that_was_refused_lives_as_long_as_others_once_it_succeeds(parts: Any, service: Service) -> None:
    """The refusal made the row; its age must not take the answer away from repeats before its time."""
    client, envelope = client_of(parts), command()
    retention = timedelta(days=7)

    async def grow_old() -> None:
        async with parts.database.transaction() as tx:
            await tx.connection.execute(update(parts.inbox_table).values(received_at=func.now() - timedelta(days=6)))
            assert await parts.inbox.prune(tx, retention) == 0

    async def two_days_later() -> Reply | None:
        async with parts.database.transaction() as tx:
            table = parts.inbox_table
            await tx.connection.execute(update(table).values(received_at=table.c.received_at - timedelta(days=2)))
            await parts.inbox.prune(tx, retention)
        return await service.stored(envelope)

    async with running(service.consumer(), client):
        for answer in (Problem(409, "media_not_ready", "Wait."), Problem(409, "too_late", "No."), Reply(status=201, body={})):
            service.answer = answer
            told = await client.call(envelope)
            assert await two_days_later() == told
            await grow_old()
        service.answer = Problem(409, "never", "No.")
        assert (await client.call(envelope)).status == 201


@pytest.mark.parametrize(("envelope_id", "prepared"), [(uuid5(NAMESPACE_URL, "key"), 1), (None, 2)])
async def test_a_command_with_a_key_is_prepared_once_and_any_has_one_effect(
    parts: Any, service: Service, envelope_id: UUID | None, prepared: int
) -> None:
    """An id that was made for one command alone is hardly ever repeated, so it is not looked up before the preparation."""
    client = client_of(parts)
    message = PublishPostNow(post_id=uuid4())
    envelope = wrap(
        message,
        service="gateway",
        subject="x",
        context=Context(user_id=USER),
        request_hash="h",
        envelope_id=envelope_id,
    )
    async with running(service.consumer(), client):
        first = await client.call(envelope)
        again = await client.call(envelope)
    assert first == again
    assert service.prepared == prepared
    assert await parts.effects_seen() == ["prepared"]


async def test_no_reply_in_time_is_accepted_and_runs_later(parts: Any, service: Service) -> None:
    client, envelope = client_of(parts, timeout=0.3), command()
    consumer = service.consumer()
    await consumer.start()
    await consumer.stop()
    async with running(client):
        with pytest.raises(CommandAccepted):
            await client.call(envelope)
    assert await service.stored(envelope) is None
    async with running(service.consumer()):
        reply = await eventually(lambda: service.stored(envelope))
    assert reply == service.answer


async def test_nobody_to_take_it_is_unavailable(parts: Any) -> None:
    client = client_of(parts)
    lonely = command().model_copy(update={"type": "cuepost.nobody.does_this.v1"})
    async with running(client):
        with pytest.raises(CommandUnavailable):
            await client.call(lonely)
    with pytest.raises(CommandUnavailable):
        await client.call(command())


async def test_a_lost_connection_is_made_again_with_a_new_reply_queue(parts: Any, service: Service) -> None:
    client = client_of(parts)
    async with running(service.consumer(), client):
        link = client._link
        assert link is not None
        await link.connection.close()
        await eventually(lambda: client._link is not None and client._link is not link)
        assert client._link is not None
        assert client._link.reply_queue != link.reply_queue
        assert (await client.call(command())).status == 201


async def test_a_cancelled_confirm_of_a_stuck_connection_is_survived(parts: Any, service: Service) -> None:
    """Aiormq cancels what waits on a connection it finds stuck; the client must connect again and send again."""
    client, envelope = client_of(parts), command()
    client._unconfirmed["lost"] = envelope
    original, cancelled = client._resend, asyncio.Event()

    async def stuck(link: Any) -> None:
        client._resend = original  # type: ignore[method-assign]
        cancelled.set()
        raise asyncio.CancelledError

    client._resend = stuck  # type: ignore[method-assign]
    async with running(service.consumer(), client):
        await cancelled.wait()
        assert await eventually(lambda: service.stored(envelope)) == service.answer
        assert (await client.call(command())).status == 201


async def test_a_confirm_that_is_lost_is_accepted_and_sent_again(parts: Any, service: Service) -> None:
    """The connection is cut before the broker sees the command; after the reconnect it is sent again and has one effect."""
    client, envelope = client_of(parts, timeout=1.0), command()
    async with running(service.consumer(), client):
        link = client._link
        assert link is not None
        original = link.exchange.publish

        async def cut(*args: Any, **kwargs: Any) -> Any:
            await link.connection.close()
            return await original(*args, **kwargs)

        link.exchange.publish = cut  # type: ignore[method-assign]
        with pytest.raises(CommandAccepted):
            await client.call(envelope)
        assert await eventually(lambda: service.stored(envelope)) == service.answer
    assert await parts.effects_seen() == [str(envelope.id)]
    assert client._unconfirmed == {}


async def test_a_command_that_cannot_be_sent_again_stops_no_other(parts: Any, service: Service) -> None:
    client = client_of(parts)
    client._unconfirmed["lost"] = command().model_copy(update={"type": "cuepost.nobody.does_this.v1"})
    async with running(service.consumer(), client):
        await eventually(lambda: client._unconfirmed == {})
        assert (await client.call(command())).status == 201


async def test_too_many_unconfirmed_are_refused(parts: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.messaging.command_client.MAX_UNCONFIRMED", 0)
    client = client_of(parts)
    async with running(service.consumer(), client):
        with pytest.raises(CommandUnavailable):
            await client.call(command())


async def test_who_only_knows_the_name_of_a_queue_commands_nothing(parts: Any, service: Service, rabbitmq_url: str) -> None:
    """RabbitMQ lets each service publish by the name of any queue, and lets nobody name another user as the sender."""
    forged = command()
    client = client_of(parts)
    async with running(service.consumer(), client), broker_channel(rabbitmq_url) as channel:
        # A key of its own does not hide the way it came: the queue is named in a header.
        for properties in ({}, {"headers": {"CC": [parts.queue]}}):
            message = aio_pika.Message(forged.to_bytes(), **properties)
            await channel.default_exchange.publish(message, forged.key if properties else parts.queue, mandatory=True)
            dead = await next_message(channel, f"{parts.queue}.dead")
            assert dead.headers["x-cuepost-reason"] == "it came by the queue's name, from who does not say who it is"
        assert await service.stored(forged) is None
        async with broker_channel(rabbitmq_url) as other:
            with pytest.raises(ChannelPreconditionFailed):
                await send(other, parts.queue, forged, user_id="scheduler")
        await send(channel, f"{parts.queue}.dead", forged)
        async with dead_letter_box(parts.amqp_url, operator="me") as box:
            await box.replay(parts.queue, lambda _: True)
        assert await eventually(lambda: service.stored(forged)) == service.answer
    assert await parts.effects_seen() == [str(forged.id)]


@pytest.mark.parametrize(("sender", "is_known"), [("scheduler", True), ("admin", True), ("analytics", False), (None, False)])
async def test_what_comes_by_name_is_its_owners_or_an_operators(sender: str | None, *, is_known: bool) -> None:
    incoming = delivered(command())
    with nullcontext() if is_known else pytest.raises(UnknownSender):
        replace(incoming, sender=sender).require_sender("scheduler")
    replace(incoming, exchange="cuepost.commands", sender=sender).require_sender("scheduler")
    for way in ({"exchange": "scheduler.forge"}, {"exchange": "cuepost.events", "headers": {"x-death": []}}):
        with pytest.raises(UnknownSender):
            replace(incoming, sender="scheduler", **way).require_sender("scheduler")


async def test_unknown_and_dead_commands_tell_their_end(parts: Any, service: Service, rabbitmq_url: str) -> None:
    client = client_of(parts)
    broken = command().model_copy(update={"data": {}})
    async with running(service.consumer(), client), broker_channel(rabbitmq_url) as channel:
        reply = await client.call(broken)
        dead = await next_message(channel, f"{parts.queue}.dead")
        await send(channel, parts.queue, command().model_copy(update={"type": "cuepost.scheduler.unknown.v1"}))
        unknown = await next_message(channel, f"{parts.queue}.dead")
    assert (reply.status, reply.body and reply.body["code"]) == (500, "command_failed")
    assert await service.stored(broken) == reply
    assert "post_id" in str(dead.headers["x-cuepost-reason"])
    assert dead.headers["x-cuepost-routing-key"] == CancelPost.KEY
    assert unknown.headers["x-cuepost-reason"] == "unknown command scheduler.unknown.v1"


@pytest.mark.parametrize(("deaths", "runs"), [(HANDLED_DELIVERIES - 1, True), (HANDLED_DELIVERIES, False)])
async def test_a_command_whose_consumer_died_again_and_again_fails_in_its_operation(
    parts: Any, service: Service, rabbitmq_url: str, *, deaths: int, runs: bool
) -> None:
    """RabbitMQ alone would drop it into the dead letters a little later, and nobody would ever answer the operation."""
    envelope = command()
    await declare(service)
    async with broker_channel(rabbitmq_url) as channel:
        await send(channel, parts.queue, envelope)
    await die_with(rabbitmq_url, parts.queue, deaths)
    async with running(service.consumer()), broker_channel(rabbitmq_url) as channel:
        await eventually(lambda: service.stored(envelope))
        reply = await service.stored(envelope)
        assert reply is not None
        if runs:
            assert reply.status == 201
            return
        dead = await next_message(channel, f"{parts.queue}.dead")
    assert (reply.status, reply.body and reply.body["code"]) == (500, "command_failed")
    assert "consumer died" in str(dead.headers["x-cuepost-reason"])
    assert await parts.effects_seen() == []


async def declare(service: Service) -> None:
    """Have the service's queues declared, as by an earlier run."""
    async with running(service.consumer()):
        pass


async def die_with(url: str, queue: str, times: int) -> None:
    """Take the message and lose the channel with it, as a consumer that dies."""
    async with broker_channel(url) as outer:
        for _ in range(times):
            async with outer._connection.channel() as channel:  # type: ignore[attr-defined]
                declared = await channel.get_queue(queue, ensure=False)
                await eventually(lambda: _got(declared))  # noqa: B023


async def _got(queue: Any) -> bool:
    return await queue.get(fail=False) is not None


async def test_a_reply_nobody_can_read_changes_nothing(parts: Any, service: Service, rabbitmq_url: str) -> None:
    client, envelope = client_of(parts), command()
    async with running(service.consumer(), client), broker_channel(rabbitmq_url) as channel:
        link = client._link
        assert link is not None
        await send(channel, link.reply_queue, b"garbage", correlation_id="unknown")
        call = asyncio.create_task(client.call(envelope))
        reply = await call
    assert reply.status == 201
