"""Commands whose confirm does not come: 202, one effect in the end, whichever gateway lives to see it."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.scheduler import CreatePost
from common.messaging.command_client import CommandClient, CommandUnavailable
from common.testing.eventually import eventually
from common.testing.tcp_gate import TcpGate
from gateway.clients.object_store import ObjectStore, storage_unavailable
from gateway.domain.kept_command import seal
from gateway.usecases.keep_commands import KeptCommands

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
KEY = bytes(range(32))


def kept_in(folder: Path) -> list[Path]:
    return sorted((folder / "commands").glob("*"))


async def answered(client: Any, location: str, auth: Any) -> Any:
    async def done() -> Any:
        shown = (await client.get(location, headers=auth)).json()
        return shown["answer"] if shown["status"] == "done" else None

    return await eventually(done)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_a_connection_cut_between_publish_and_confirm(
    run_gateway: Any,
    first_gateway: Any,
    gate: tuple[TcpGate, str],
    service: Any,
    services: Any,
    auth: Any,
    user_id: UUID,
    storage_folder: Path,
    headers: Any,
) -> None:
    """RabbitMQ has the command and it runs; its confirm and its reply are lost with the connection."""
    async with run_gateway(amqp_url=gate[1], command_timeout_seconds=1.0) as client:
        gate[0].answering.clear()
        sending = asyncio.create_task(client.post(POSTS, json={"caption": "x"}, headers={**auth, **headers}))

        async def has_run() -> bool:
            return bool(await service.count() == 1)

        await eventually(has_run)
        gate[0].cut()
        answer = await sending
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        location = answer.headers["location"]
        await service.answer_operation(services, location, user_id)
        gate[0].mend()
        assert (await answered(client, location, auth))["body"] == {"effect": 1}
        # It is sent again, twice: by the client that lost the confirm, and from what is kept.
        await eventually(lambda: client.app.state.edge.commands._client._unconfirmed == {})
        await client.app.state.edge.commands._kept.send()
        assert kept_in(storage_folder) == []
    later = await first_gateway.post(POSTS, json={"caption": "later"}, headers=auth)
    assert later.json() == {"effect": 2}


async def test_a_command_outlives_the_gateway_that_took_it(
    run_gateway: Any,
    gate: tuple[TcpGate, str],
    service: Any,
    services: Any,
    auth: Any,
    user_id: UUID,
    storage_folder: Path,
) -> None:
    """It never reached RabbitMQ, and its gateway ends: the next one on the same storage sends it."""
    async with run_gateway(amqp_url=gate[1], command_timeout_seconds=0.3) as client:
        gate[0].open.clear()
        answer = await client.post(POSTS, json={"caption": "x"}, headers=auth)
        assert answer.status_code == 202
        assert len(kept_in(storage_folder)) == 1
        gate[0].cut()
    assert await service.count() == 0
    location = answer.headers["location"]
    async with run_gateway() as heir:
        await service.answer_operation(services, location, user_id)
        assert (await answered(heir, location, auth))["body"] == {"effect": 1}
        await eventually(lambda: kept_in(storage_folder) == [])


async def test_duplicates_that_both_end_in_202_are_one_operation(
    run_gateway: Any, responder: Any, services: Any, auth: Any
) -> None:
    responder.script = lambda _: None
    await responder.bind(CreatePost.KEY)
    async with run_gateway(command_timeout_seconds=0.2) as one, run_gateway(command_timeout_seconds=0.2) as two:
        keyed = {**auth, "Idempotency-Key": "same"}
        sent = [client.post(POSTS, json={"caption": "x"}, headers=keyed) for client in (one, two, one)]
        answers = [*await asyncio.gather(*sent), await two.post(POSTS, json={"caption": "x"}, headers=keyed)]
        assert {answer.status_code for answer in answers} == {202}
        (location,) = {answer.headers["location"] for answer in answers}
        pending = (await two.get(location, headers=auth)).json()
        assert (pending["status"], "one effect" in pending["hint"]) == ("pending", True)
        others = [await one.post(POSTS, json={"caption": "x"}, headers=auth) for _ in range(2)]
        assert len({location, *(answer.headers["location"] for answer in others)}) == 3
        assert (await one.get(others[0].headers["location"], headers=auth)).json()["hint"] is None


def command(**fields: Any) -> Envelope:
    context = Context(user_id=uuid4(), actor="user:x")
    return wrap(CreatePost(caption="x"), service="gateway", subject="x", context=context, request_hash="ab" * 32, **fields)


@pytest.fixture
async def client(rabbitmq_url: str) -> Any:
    client = CommandClient(SecretStr(rabbitmq_url), prefix="gateway.replies", instance=uuid4().hex[:6])
    await client.start()
    yield client
    await client.stop()


def kept_commands(folder: Path, client: CommandClient, **fields: Any) -> KeptCommands:
    return KeptCommands(ObjectStore(f"file://{folder}"), client, **{"key": KEY, "max_age": timedelta(days=3), **fields})


async def test_what_is_kept_twice_has_one_effect(tmp_path: Path, client: CommandClient, service: Any) -> None:
    """A gateway that dies between the confirm and forgetting leaves it to be sent once more."""
    kept, envelope = kept_commands(tmp_path, client), command()
    for _ in range(2):
        await kept.keep(envelope)
        assert (await kept.send()).done == 1
    assert kept_in(tmp_path) == []
    # Behind it in the same queue.
    assert (await client.call(command())).body == {"effect": 2}


class Shelf:
    """A storage in memory that loses what another gateway takes away meanwhile."""

    def __init__(self, objects: dict[str, bytes | None]) -> None:
        self.objects = objects

    async def keys(self, prefix: str, *, limit: int, after: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix) and key > after)[:limit]

    async def get(self, key: str) -> bytes | None:
        return self.objects[key]

    async def put(self, key: str, content: bytes) -> None:
        if len(self.objects) > 5:
            await asyncio.Event().wait()
        self.objects[key] = content

    async def delete(self, key: str) -> None:
        del self.objects[key]


class Sent:
    """Takes commands, except those of one kind."""

    def __init__(self) -> None:
        self.commands: list[Envelope] = []

    async def send_again(self, envelope: Envelope) -> None:
        if envelope.key.startswith("nobody"):
            raise CommandUnavailable("nobody takes it")
        self.commands.append(envelope)


async def test_what_becomes_of_each_kept_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.usecases.keep_commands.KEEP_TIMEOUT_S", 0.1)
    young, old = command(), command(time=utc_now() - timedelta(days=9))
    unwanted = command().model_copy(update={"type": "cuepost.nobody.does_this.v1"})
    contents = {"gone": None, "forged": b"x", "nonsense": seal(b"{}", KEY)}
    shelf, sent = Shelf({f"commands/{name}": content for name, content in contents.items()}), Sent()
    kept = KeptCommands(shelf, sent, key=KEY, max_age=timedelta(days=3))  # type: ignore[arg-type]
    for envelope in (young, old, unwanted, command()):
        # The last one finds a storage that hangs: it is given up.
        await kept.keep(envelope)
    step = await kept.send()
    assert (step.done, step.next_in) == (5, 2.0)
    assert sent.commands == [young]
    assert [key.split("/")[1][:36] for key in shelf.objects if "gone" not in key] == [str(unwanted.id)]


async def test_what_has_to_wait_holds_up_nothing_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One service's queue is missing: its commands wait, those of the others go out, all of them within a few rounds."""
    monkeypatch.setattr("gateway.usecases.keep_commands.BATCH", 3)
    waiting = [command().model_copy(update={"type": "cuepost.nobody.does_this.v1"}) for _ in range(7)]
    shelf, sent = Shelf({f"commands/a{n}": seal(one.to_bytes(), KEY) for n, one in enumerate(waiting)}), Sent()
    wanted = [command() for _ in range(4)]
    shelf.objects |= {f"commands/b{n}": seal(one.to_bytes(), KEY) for n, one in enumerate(wanted)}
    kept = KeptCommands(shelf, sent, key=KEY, max_age=timedelta(days=3))  # type: ignore[arg-type]
    steps = [await kept.send() for _ in range(5)]
    assert max(step.done for step in steps) <= 3
    assert sent.commands == wanted
    assert sorted(shelf.objects) == [f"commands/a{n}" for n in range(7)]
    # After the last name it begins with the first again: what waited may go now.
    shelf.objects["commands/a0"] = seal(command().to_bytes(), KEY)
    for _ in range(3):
        await kept.send()
    assert len(sent.commands) == 5


async def test_one_key_with_two_bodies_is_kept_as_two(tmp_path: Path, client: CommandClient, service: Any) -> None:
    kept, envelope = kept_commands(tmp_path, client), command()
    await kept.keep(envelope)
    await kept.keep(envelope.model_copy(update={"requesthash": "cd" * 32}))
    assert len(kept_in(tmp_path)) == 2
    assert (await kept.send()).done == 2
    assert (await client.call(command())).body == {"effect": 2}


async def test_what_nobody_takes_waits(tmp_path: Path, client: CommandClient) -> None:
    kept = kept_commands(tmp_path, client)
    await kept.keep(command().model_copy(update={"type": "cuepost.nobody.does_this.v1"}))
    step = await kept.send()
    assert (step.done, step.more, step.next_in) == (0, False, 2.0)
    assert len(kept_in(tmp_path)) == 1
    await client.stop()
    with pytest.raises(CommandUnavailable):
        await client.send_again(command())
    assert (await kept.send()).done == 0
    assert len(kept_in(tmp_path)) == 1


UNSEALED = [b"", b"garbage", seal(b"{}", KEY), seal(command().to_bytes(), bytes(32)), command().to_bytes()]


@pytest.mark.parametrize("content", UNSEALED)
async def test_what_no_gateway_sealed_is_never_sent(
    tmp_path: Path, client: CommandClient, service: Any, content: bytes
) -> None:
    """Whoever can write to the storage cannot speak for a user."""
    kept = kept_commands(tmp_path, client)
    await ObjectStore(f"file://{tmp_path}").put("commands/x", content)
    assert (await kept.send()).done == 1
    assert kept_in(tmp_path) == []
    assert (await client.call(command())).body == {"effect": 1}


async def test_what_may_be_forgotten_by_its_service_is_not_sent_any_more(
    tmp_path: Path, client: CommandClient, service: Any
) -> None:
    kept = kept_commands(tmp_path, client)
    for days in (3.01, 2.99):
        await kept.keep(command(time=utc_now() - timedelta(days=days)))
        assert (await kept.send()).done == 1
        assert kept_in(tmp_path) == []

    async def one_ran() -> bool:
        return bool(await service.count() == 1)

    await eventually(one_ran)
    assert (await client.call(command())).body == {"effect": 2}


async def test_a_storage_that_is_away_costs_the_guarantee_not_the_answer(
    run_gateway: Any, gate: tuple[TcpGate, str], service: Any, auth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise storage_unavailable()

    async with run_gateway(amqp_url=gate[1], command_timeout_seconds=0.3) as client:
        monkeypatch.setattr(ObjectStore, "put", away)
        gate[0].open.clear()
        answer = await client.post(POSTS, json={"caption": "x"}, headers=auth)
        assert answer.status_code == 202
        gate[0].mend()

        async def has_run() -> bool:
            return bool(await service.count() == 1)

        await eventually(has_run)
