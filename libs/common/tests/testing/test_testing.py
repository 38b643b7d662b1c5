import socket
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import cast

import aio_pika
import asyncpg
import pytest

from common.testing import servers
from common.testing.amqp import broker_channel
from common.testing.databases import TestDatabases, delete_all_rows, with_database
from common.testing.eventually import eventually
from common.testing.plugin import DatabaseUrl
from common.testing.servers import TestServers


async def test_eventually_returns_what_became_true() -> None:
    values = iter([0, None, 7])
    assert await eventually(lambda: next(values), interval=0) == 7

    async def slow() -> str:
        return "yes"

    assert await eventually(slow) == "yes"


async def test_eventually_shows_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.05 s; last value: \[\]"):
        await eventually(list[int], timeout=0.05)


async def test_eventually_takes_a_failed_assertion_as_not_yet() -> None:
    count = 0

    def third_time() -> bool:
        nonlocal count
        count += 1
        assert count >= 3, f"only {count}"
        return True

    assert await eventually(third_time, interval=0)
    count = -(10**9)
    with pytest.raises(AssertionError, match="last failure: only"):
        await eventually(third_time, timeout=0.05)


async def test_eventually_passes_other_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 / 0)


@pytest.mark.integration
async def test_databases_are_fresh_cleaned_and_dropped(postgres_url: str) -> None:
    databases = TestDatabases(postgres_url)
    url = await databases.create("plumbing")
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (parent int REFERENCES parent);"
        "CREATE TABLE alembic_version (v text); CREATE TABLE parted (at int) PARTITION BY RANGE (at);"
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);"
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1); INSERT INTO alembic_version VALUES ('x');"
        "INSERT INTO parted VALUES (1);"
    )
    await delete_all_rows(url)
    counts = [
        await connection.fetchval("SELECT count(*) FROM parent"),
        await connection.fetchval("SELECT count(*) FROM child"),
        await connection.fetchval("SELECT count(*) FROM parted"),
        await connection.fetchval("SELECT count(*) FROM alembic_version"),
    ]
    assert counts == [0, 0, 0, 1]
    await databases.drop_all()
    await eventually(connection.is_closed)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


@pytest.mark.integration
async def test_an_empty_database_has_no_tables(empty_database: DatabaseUrl) -> None:
    connection = await asyncpg.connect(await empty_database("nothing"))
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


@pytest.mark.integration
@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_queues_of_a_test_are_gone_in_the_next(broker_url: str, turn: int) -> None:
    """Or empty, also of what a consumer held; and gone for good when a test has not made of one what the one before it had."""
    async with broker_channel(broker_url) as channel:
        exchange = await channel.declare_exchange("cuepost.events", aio_pika.ExchangeType.TOPIC, durable=True)
        for name in ("common.testing.probe", "accounts.sync", "accounts.batches"):
            arguments = {"x-queue-type": "quorum"} if turn < 3 or name != "accounts.sync" else {"x-max-length": 1}
            queue = await channel.declare_queue(name, durable=True, arguments=arguments)
            assert queue.declaration_result.message_count == 0
            for _ in range(2):
                await channel.default_exchange.publish(aio_pika.Message(b"left behind"), routing_key=name)
            assert await queue.get(no_ack=False)
        if turn == 1:
            await queue.bind(exchange, "common.testing.bound")
        await exchange.publish(aio_pika.Message(b"bound"), "common.testing.bound", mandatory=False)
        assert (await channel.declare_queue(name, passive=True)).declaration_result.message_count == (1 if turn == 3 else 2)


def test_addresses_of_other_databases_keep_the_rest() -> None:
    assert with_database("postgresql://u:p@h:5/postgres?x=1", "other") == "postgresql://u:p@h:5/other?x=1"


def test_given_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_POSTGRES_URL", "postgresql://given")
    monkeypatch.setenv("TEST_RABBITMQ_URL", "amqp://given")
    found = TestServers()
    assert (found.postgres_url, found.rabbitmq_url) == ("postgresql://given", "amqp://given")
    found.stop()


class FakeServers:
    postgres_url = "postgresql://local"
    rabbitmq_url = "amqp://local"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopped = False

    def stop(self) -> None:
        assert self.folder.is_dir()
        self.stopped = True


@pytest.mark.parametrize("wanted", [False, True])
def test_without_docker_the_local_stack_starts_both_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    started: list[FakeServers] = []

    class Module:
        @staticmethod
        def start_servers(folder: Path, *, durable: bool) -> FakeServers:
            assert durable is wanted
            started.append(FakeServers(folder))
            return started[-1]

        @staticmethod
        def remove_servers(folder: Path) -> None:
            raise AssertionError(f"nothing was left in {folder}")

    for name in ("TEST_POSTGRES_URL", "TEST_RABBITMQ_URL"):
        monkeypatch.delenv(name, raising=False)
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    for folder in (memory, disk):
        folder.mkdir()
    monkeypatch.setattr(servers, "docker_answers", lambda: False)
    monkeypatch.setattr(servers, "base_folder", lambda: memory)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setitem(sys.modules, "localstack.servers", cast("ModuleType", Module))
    found = TestServers(durable=wanted)
    assert (found.rabbitmq_url, found.postgres_url) == ("amqp://local", "postgresql://local")
    found.stop()
    assert len(started) == 1
    assert started[0].stopped
    assert started[0].folder.parent == (disk if wanted else memory)
    assert not started[0].folder.exists()


class FakeContainer:
    def __init__(self, image: str) -> None:
        self.image = image
        self.calls: list[str] = []
        self.command = ""

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            self.calls.append(name)
            if name == "with_command":
                self.command = str(arguments[0])
            return {"get_container_host_ip": "localhost", "get_exposed_port": "1234"}.get(name, self)

        return call


@pytest.mark.parametrize("durable", [False, True])
def test_with_docker_containers_are_used(monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    containers: list[FakeContainer] = []

    def make(image: str) -> FakeContainer:
        containers.append(FakeContainer(image))
        return containers[-1]

    for name in ("TEST_POSTGRES_URL", "TEST_RABBITMQ_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(servers, "docker_answers", lambda: True)
    monkeypatch.setattr(servers, "_container", make)
    found = TestServers(durable=durable)
    assert found.postgres_url == "postgresql://postgres:test@localhost:1234/postgres"
    assert found.rabbitmq_url == "amqp://guest:guest@localhost:1234/"
    found.stop()
    assert [container.image for container in containers] == ["postgres:18", "rabbitmq:4"]
    assert ("fsync=off" in containers[0].command) is not durable
    assert all(container.calls[-1] == "stop" for container in containers)


def test_a_docker_that_is_missing_or_never_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert servers.docker_answers() is False
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker.sock"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        assert servers.docker_answers() is False
