"""Who reads events from outside: it publishes nothing to others, the example loses and doubles nothing."""

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused, DeliveryError
from yarl import URL

from common.ids import uuid7
from common.testing.amqp import next_message
from common.testing.eventually import eventually
from common.testing.http_server import free_port
from common.testing.tcp_gate import TcpGate
from localstack.consumers import add_consumer
from localstack.paths import CHECKOUT
from localstack.rabbitmq import broker_url, server_environment
from localstack.rabbitmq_install import require_server
from localstack.servers import Servers

pytestmark = pytest.mark.integration
EXAMPLE = CHECKOUT / "deploy/examples/audit_consumer.py"
TOTAL = 600

Attempt = Callable[[AbstractChannel], Awaitable[Any]]


@pytest.fixture
def servers(own_servers: Servers) -> Servers:
    return own_servers


@pytest.fixture
async def ended() -> AsyncIterator[AsyncExitStack]:
    """Give a stack of what is to end with the test, also with one that fails."""
    async with AsyncExitStack() as stack:
        yield stack


def url(servers: Servers, user: str) -> str:
    return broker_url(servers.stack.secrets, servers.stack.ports, user)


@pytest.fixture
async def others(servers: Servers) -> AsyncIterator[AbstractChannel]:
    """Make a queue of the scheduler with a message in it, and look afterwards that it is as it was."""
    connection = await aio_pika.connect(url(servers, "admin"), timeout=10)
    async with connection:
        channel = await connection.channel()
        await channel.declare_exchange("cuepost.retry.1s", "fanout", durable=True)
        queue = await channel.declare_queue("scheduler.commands", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), "scheduler.commands")
        yield channel
        declared = await channel.declare_queue("scheduler.commands", passive=True)
        assert declared.declaration_result.message_count == 1, "it is still there, and nothing was added"
        await queue.delete(if_unused=False, if_empty=False)


def publishing(exchange: str, key: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)

    return attempt


def declaring(name: str, **arguments: Any) -> Attempt:
    return lambda channel: channel.declare_queue(name, durable=True, arguments=arguments)


async def take(channel: AbstractChannel) -> None:
    await (await channel.get_queue("scheduler.commands", ensure=False)).get()


async def consume(channel: AbstractChannel) -> None:
    async def receive(_: object) -> None:
        raise AssertionError("somebody's message came")

    await (await channel.get_queue("scheduler.commands", ensure=False)).consume(receive)


async def purge(channel: AbstractChannel) -> None:
    await (await channel.get_queue("scheduler.commands", ensure=False)).purge()


async def delete(channel: AbstractChannel) -> None:
    await channel.queue_delete("scheduler.commands")


async def delete_exchange(channel: AbstractChannel) -> None:
    await channel.exchange_delete("cuepost.events")


async def bind_commands(channel: AbstractChannel) -> None:
    await (await channel.declare_queue("audit.test", exclusive=True)).bind("cuepost.commands", "#")


async def bind_a_foreign_queue(channel: AbstractChannel) -> None:
    await (await channel.get_queue("scheduler.commands", ensure=False)).bind("cuepost.events", "#")


async def bind_into_events(channel: AbstractChannel) -> None:
    await channel.declare_exchange("audit.x", "topic", auto_delete=True)
    await (await channel.get_exchange("cuepost.events", ensure=False)).bind("audit.x", "#")


async def bind_a_foreign_queue_to_its_own_exchange(channel: AbstractChannel) -> None:
    await channel.declare_exchange("audit.z", "fanout", auto_delete=True)
    await (await channel.get_queue("scheduler.commands", ensure=False)).bind("audit.z")


async def fall_back_to_events(channel: AbstractChannel) -> None:
    await channel.declare_exchange("audit.y", "fanout", auto_delete=True, arguments={"alternate-exchange": "cuepost.events"})


REFUSED: dict[str, Attempt] = {
    "publish an event": publishing("cuepost.events", "scheduler.post.due.v1"),
    "publish an event in its own name": publishing("cuepost.events", "audit.x.y.v1"),
    "publish a command": publishing("cuepost.commands", "scheduler.create_post.v1"),
    "publish into somebody's queue": publishing("", "scheduler.commands"),
    "publish into its own queue": publishing("", "audit.test"),
    "publish through a retry tier": publishing("cuepost.retry.1s", "scheduler.commands"),
    "publish through the broker's own exchange": publishing("amq.topic", "x"),
    "take somebody's message": take,
    "consume somebody's queue": consume,
    "purge somebody's queue": purge,
    "delete somebody's queue": delete,
    "delete the exchange": delete_exchange,
    "read commands": bind_commands,
    "bind somebody's queue": bind_a_foreign_queue,
    "send into somebody's queue through an exchange of its own": bind_a_foreign_queue_to_its_own_exchange,
    "send into events by a binding": bind_into_events,
    "send into events by an alternate exchange": fall_back_to_events,
    "declare somebody's queue": declaring("scheduler.other"),
    "declare a queue whose name only contains audit": declaring("x.audit.y"),
    "send dead letters into events": declaring("audit.dead", **{"x-dead-letter-exchange": "cuepost.events"}),
    "send dead letters into somebody's queue": declaring(
        "audit.dead", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "scheduler.commands"}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_the_audit_user_cannot(servers: Servers, others: AbstractChannel, name: str) -> None:
    connection = await aio_pika.connect(url(servers, "audit"), timeout=10)
    async with connection:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await REFUSED[name](channel)


async def purge_of(channel: AbstractChannel, _own: str, theirs: str) -> None:
    await (await channel.get_queue(theirs, ensure=False)).purge()


async def delete_of(channel: AbstractChannel, _own: str, theirs: str) -> None:
    await channel.queue_delete(theirs)


async def take_from(channel: AbstractChannel, _own: str, theirs: str) -> None:
    await (await channel.get_queue(theirs, ensure=False)).get()


async def forge_into(channel: AbstractChannel, own: str, theirs: str) -> None:
    await channel.declare_exchange(f"{own}.forged", "fanout", auto_delete=True)
    await (await channel.get_queue(theirs, ensure=False)).bind(f"{own}.forged")


async def take_off_events(channel: AbstractChannel, _own: str, theirs: str) -> None:
    await (await channel.get_queue(theirs, ensure=False)).unbind("cuepost.events", "#")


async def dead_letter_into(channel: AbstractChannel, own: str, theirs: str) -> None:
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": theirs}
    await channel.declare_queue(f"{own}.dead", durable=True, arguments=arguments)


TO_OTHER_CONSUMERS = (purge_of, delete_of, take_from, forge_into, take_off_events, dead_letter_into)


async def test_a_consumer_with_a_user_of_its_own_cannot_reach_the_queues_of_another(servers: Servers) -> None:
    before = await aio_pika.connect(url(servers, "admin"), timeout=10)
    async with before:
        trail = await (await before.channel()).declare_queue(exclusive=True)
        await trail.bind("cuepost.events", "operator.action.v1")
        # In threads, so that this connection goes on with its heartbeats: on a busy machine each takes half a minute.
        users = ("audit-datateam", "audit-datateam2")
        address = {user: await asyncio.to_thread(add_consumer, servers.stack, user) for user in users}
        assert await asyncio.to_thread(add_consumer, servers.stack, users[0]) == address[users[0]], "made once"
        told = [json.loads((await trail.get(no_ack=True, timeout=30)).body) for _ in users]
        assert await trail.get(fail=False) is None
        assert [(item["data"]["action"], item["subject"]) for item in told] == [
            ("consumer_user_created", "audit-datateam"),
            ("consumer_user_created", "audit-datateam2"),
        ]
    address["audit"] = url(servers, "audit")
    for own, theirs in itertools.permutations(address, 2):
        async with await aio_pika.connect(address[theirs], timeout=10) as connection:
            queue = await (await connection.channel()).declare_queue(f"{theirs}.kept", durable=True)
            await queue.bind("cuepost.events", "#")
            await Publisher(servers).publish([event(1)])
            for attempt in TO_OTHER_CONSUMERS:
                async with await aio_pika.connect(address[own], timeout=10) as other:
                    with pytest.raises(ChannelAccessRefused):
                        await attempt(await other.channel(), own, f"{theirs}.kept")
            message = await queue.get(timeout=30)
            assert message is not None
            assert await queue.get(fail=False) is None
            await queue.delete(if_unused=False, if_empty=False)


async def test_what_a_consumer_publishes_stays_with_the_queues_of_its_user(servers: Servers) -> None:
    """Which is why programs that share a user have to trust each other, as docs/operations.md says."""
    async with await aio_pika.connect(url(servers, "audit"), timeout=10) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("audit.own", "fanout", auto_delete=True)
        queue = await channel.declare_queue("audit.reached", exclusive=True)
        await queue.bind(exchange)
        await exchange.publish(aio_pika.Message(b"forged"), "x")
        message = await queue.get(timeout=5)
        assert message is not None
        assert message.body == b"forged"


async def test_a_consumers_queue_that_refuses_messages_keeps_none_from_the_other_queues(servers: Servers) -> None:
    """What no right of RabbitMQ's denies, as docs/operations.md says: the event is refused, and is in the others all the same."""
    async with (
        await aio_pika.connect(url(servers, "audit"), timeout=10) as connection,
        await aio_pika.connect(url(servers, "scheduler"), timeout=10) as relay,
    ):
        full = {"x-overflow": "reject-publish", "x-max-length": 1}
        queue = await (await connection.channel()).declare_queue("audit.full", durable=True, arguments=full)
        await queue.bind("cuepost.events", "#")
        channel = await relay.channel()
        exchange = await channel.get_exchange("cuepost.events", ensure=False)
        message = aio_pika.Message(json.dumps(event(1)).encode())
        quorum = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
        other = await channel.declare_queue("scheduler.other", durable=True, arguments=quorum)
        await other.bind("cuepost.events", "#")
        await exchange.publish(message, "scheduler.post.due.v1", mandatory=False)
        for _ in range(2):
            with pytest.raises(DeliveryError):
                await exchange.publish(message, "scheduler.post.due.v1", mandatory=False)
        for _ in range(3):
            assert (await next_message(channel, other.name, timeout=60)).body == message.body
        await other.delete(if_unused=False, if_empty=False)
        await queue.delete(if_unused=False, if_empty=False)
        await exchange.publish(message, "scheduler.post.due.v1", mandatory=False)


async def test_each_kind_of_queue_is_bounded(servers: Servers) -> None:
    """RabbitMQ applies no policy to a queue whose type does not take all of its keys, and tells nobody."""
    stack, kinds = servers.stack, ("classic", "quorum", "stream")
    async with await aio_pika.connect(url(servers, "audit"), timeout=10) as connection:
        channel = await connection.channel()
        for kind in kinds:
            await channel.declare_queue(f"audit.{kind}", durable=True, arguments={"x-queue-type": kind})
        control = require_server(lambda _: None).with_name("rabbitmqctl")
        process = await asyncio.create_subprocess_exec(
            *(str(control), "--silent", "list_queues", "name", "policy", "--formatter", "json"),
            env=server_environment(stack.paths, stack.ports),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
        for kind in kinds:
            await channel.queue_delete(f"audit.{kind}")
    applied = {queue["name"]: queue["policy"] for queue in json.loads(told)}
    assert [applied[f"audit.{kind}"] for kind in kinds] == ["cuepost-audit", "cuepost-audit", "cuepost-audit-stream"]


async def test_the_audit_user_reads_every_event(servers: Servers) -> None:
    async with await aio_pika.connect(url(servers, "audit"), timeout=10) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("audit.reader", exclusive=True)
        await queue.bind("cuepost.events", "#")
        await Publisher(servers).publish([event(1)])
        message = await queue.get(timeout=5)
        assert message is not None
        assert json.loads(message.body)["data"] == {"n": 1}


def event(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid7()),
        "type": "cuepost.scheduler.post.due.v1",
        "source": "/services/scheduler",
        "subject": "p",
        "time": "2026-11-21T07:00:00Z",
        "data": {"n": number},
    }


class Publisher:
    """Publishes as the scheduler's relay does: with confirms, and again what was not confirmed."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.confirmed = 0

    async def publish(self, events: list[dict[str, Any]]) -> None:
        waiting = list(events)
        while waiting:
            try:
                connection = await aio_pika.connect(url(self._servers, "scheduler"), timeout=5)
                async with connection:
                    exchange = await (await connection.channel()).get_exchange("cuepost.events", ensure=False)
                    while waiting:
                        await asyncio.wait_for(self._confirmed(exchange, waiting[:20]), 5)
                        del waiting[:20]
            except (AMQPError, OSError, TimeoutError):
                await asyncio.sleep(0.1)

    async def _confirmed(self, exchange: Any, batch: list[dict[str, Any]]) -> None:
        messages = [
            aio_pika.Message(json.dumps(item).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for item in batch
        ]
        await asyncio.gather(*(exchange.publish(message, "scheduler.post.due.v1", mandatory=False) for message in messages))
        self.confirmed += len(batch)


class Example:
    """The example as a process that is killed again and again."""

    def __init__(self, servers: Servers, path: Path) -> None:
        self._environment = {"PATH": os.environ["PATH"], "AMQP_URL": url(servers, "audit")}
        self._path = path
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        await self.begin()
        await self.listening()

    async def begin(self, *, address: str | None = None) -> asyncio.subprocess.Process:
        """Run it; `address` is that of the broker, when it is another one."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLE), str(self._path)),
            env=self._environment if address is None else self._environment | {"AMQP_URL": address},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL if address is None else asyncio.subprocess.PIPE,
        )
        return self._process

    async def listening(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert await asyncio.wait_for(self._process.stdout.readline(), 60) == b"listening\n"

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def kept(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with sqlite3.connect(self._path, timeout=10) as database:
            return [json.loads(row[0]) for row in database.execute("SELECT body FROM events")]


async def kept_at_least(example: Example, number: int) -> None:
    async def enough() -> bool:
        return len(example.kept()) >= number

    await eventually(enough, timeout=60)


@pytest.mark.timeout(400)
async def test_the_example_loses_and_doubles_nothing_over_kills_and_a_restart_of_the_broker(
    servers: Servers, tmp_path: Path, ended: AsyncExitStack
) -> None:
    example, publisher, told = (
        Example(servers, tmp_path / "events.sqlite"),
        Publisher(servers),
        [event(n) for n in range(TOTAL)],
    )
    ended.push_async_callback(example.kill)
    await example.start()
    # Some are told twice, as a relay does that died after the broker had them.
    half = TOTAL // 2
    publishing = asyncio.create_task(publisher.publish([*told[:half], *told[:half:5], *told[half:]]))
    chance = random.Random(7)
    for step in range(1, 5):
        # Somewhere in the middle of what it has in hand; the broker goes down between.
        await kept_at_least(example, step * TOTAL // 6 + chance.randrange(50))
        if step == 3:
            await asyncio.to_thread(servers.stack.restart, "rabbitmq")
        else:
            await example.kill()
            await example.start()
    await publishing
    await kept_at_least(example, TOTAL)
    await example.kill()
    kept = example.kept()
    assert len(kept) == TOTAL
    assert {item["id"]: item["data"] for item in kept} == {item["id"]: item["data"] for item in told}
    assert publisher.confirmed >= TOTAL
    async with await aio_pika.connect(url(servers, "admin"), timeout=10) as connection:
        queue = await (await connection.channel()).declare_queue("audit.example", passive=True)
        assert queue.declaration_result.message_count in range(100), "all but what it had not acknowledged"


async def test_the_example_waits_for_a_broker_that_is_away_when_it_begins(
    servers: Servers, tmp_path: Path, ended: AsyncExitStack
) -> None:
    """Nobody listens at the address at first; after it was refused there twice, the broker is there."""
    example, broker, port = Example(servers, tmp_path / "events.sqlite"), URL(url(servers, "audit")), free_port()
    ended.push_async_callback(example.kill)
    process = await example.begin(address=str(broker.with_host("127.0.0.1").with_port(port)))
    assert process.stderr is not None
    refusals = 0
    while refusals < 2:
        line = await asyncio.wait_for(process.stderr.readline(), 60)
        assert line, "it ended"
        refusals += b"Connection attempt" in line
    way = await asyncio.start_server(TcpGate(broker).serve, "127.0.0.1", port)
    ended.callback(way.close)
    await example.listening()
    await Publisher(servers).publish(told := [event(n) for n in range(3)])
    await eventually(lambda: {item["id"] for item in told} <= {item["id"] for item in example.kept()}, timeout=60)


async def test_the_example_ends_when_it_cannot_keep_an_event_or_its_queue_goes_and_goes_on_when_it_is_started_again(
    servers: Servers, tmp_path: Path, ended: AsyncExitStack
) -> None:
    path = tmp_path / "events.sqlite"
    example, told = Example(servers, path), [event(n) for n in range(150)]
    ended.push_async_callback(example.kill)
    process = await example.begin(address=url(servers, "audit"))
    await example.listening()
    with sqlite3.connect(path, timeout=10) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
    await Publisher(servers).publish(told)
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert said.decode().splitlines()[-1] == f"ended: {path} does not take an event: no room"
    ids = {item["id"] for item in told}
    assert ids.isdisjoint(item["id"] for item in example.kept())
    with sqlite3.connect(path, timeout=10) as database:
        database.execute("DROP TRIGGER full")
    process = await example.begin(address=url(servers, "audit"))
    await example.listening()
    await eventually(lambda: ids <= {item["id"] for item in example.kept()}, timeout=60)
    async with await aio_pika.connect(url(servers, "admin"), timeout=10) as connection:
        await (await connection.channel()).queue_delete("audit.example")
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert said.decode().splitlines()[-1] == "ended: audit.example was deleted, with the events that waited there"


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


class Tail:
    """`make audit-tail` as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, servers: Servers, *arguments: str, user: str = "audit") -> "Tail":
        own = {"AMQP_URL": url(servers, user), "PYTHONPATH": str(CHECKOUT / "deploy"), "COLUMNS": "300"}
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "audit_tail", *arguments),
                env={**os.environ, **own},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def said(self) -> str:
        assert self._process.stderr is not None
        return (await asyncio.wait_for(self._process.stderr.readline(), 60)).decode().strip()

    async def printed(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode().rstrip("\n")

    async def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self._process.wait(), 60)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def test_the_tail_prints_events_as_they_come_also_after_the_broker_was_away(
    servers: Servers, ended: AsyncExitStack
) -> None:
    tail = await Tail.start(servers, "scheduler.post.#")
    ended.push_async_callback(tail.kill)
    assert await tail.said() == "watching scheduler.post.#"
    odd = event(1) | {"data": {"attempt": 2, "reason": "a\x1b[31mred", "post_id": "p", "content": {}}, "actor": "user:7"}
    await Publisher(servers).publish([odd])
    assert await tail.printed() == "07:00:00.000  scheduler.post.due            p  user:7  attempt=2  reason=a\ufffd[31mred"
    await asyncio.to_thread(servers.stack.restart, "rabbitmq")
    while (said := await tail.said()) != "watching scheduler.post.#":
        assert "connection was lost" in said or "trying again" in said
    await Publisher(servers).publish([event(2)])
    assert (await tail.printed()).endswith("n=2")
    assert await tail.stop() == 0


async def test_the_tail_prints_whole_events_for_programs_and_to_any_consumer(servers: Servers, ended: AsyncExitStack) -> None:
    add_consumer(servers.stack, "audit-datateam")
    tail = await Tail.start(servers, "--json", user="audit-datateam")
    ended.push_async_callback(tail.kill)
    assert await tail.said() == "watching #"
    told = event(3)
    await Publisher(servers).publish([told])
    assert json.loads(await tail.printed()) == told
    assert await tail.stop() == 0
