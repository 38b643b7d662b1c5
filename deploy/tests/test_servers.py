"""The stack's own servers, for real: rights, healing, orphans, twice up and down, a checkout nobody else may enter."""

import os
import pwd
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aio_pika
import aiormq
import asyncpg
import psutil
import pytest

from localstack.errors import StackError
from localstack.identity import read_records
from localstack.paths import Paths
from localstack.ports import Ports
from localstack.postgres import database_url, program
from localstack.postgres_place import find_place, outside_folder
from localstack.process_table import rows, table
from localstack.rabbitmq import broker_url
from localstack.servers import Servers, remove_servers, servers_of, start_servers
from localstack.stack import Stack

pytestmark = pytest.mark.integration

RUNS_AS_ROOT = os.geteuid() == 0
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = start_servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


def url_of(servers: Servers, role: str, database: str) -> str:
    return database_url(servers.stack.secrets, servers.stack.ports, role).rpartition("/")[0] + f"/{database}"


async def test_each_role_reaches_its_own_database_only(servers: Servers) -> None:
    connection = await asyncpg.connect(url_of(servers, "scheduler", "scheduler"))
    await connection.execute("CREATE TABLE mine (id int); DROP TABLE mine")
    assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
    assert not await connection.fetchval("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user")
    await connection.close()
    for database in ("accounts", "publisher", "analytics", "postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(url_of(servers, "scheduler", database))


async def test_nobody_gets_in_without_the_password(servers: Servers) -> None:
    port = servers.stack.ports.postgres
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=port, user="scheduler", database="scheduler", password="wrong")
    connection = await asyncpg.connect(servers.postgres_url)
    assert await connection.fetchval("SHOW unix_socket_directories") == ""
    assert await connection.fetchval("SHOW password_encryption") == "scram-sha-256"
    assert await connection.fetchval("SHOW server_version_num") >= "180000"
    rules = await connection.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert {rule["auth_method"] for rule in rules} <= {"scram-sha-256", "reject"}
    await connection.close()


async def test_what_is_committed_is_on_the_disk_unless_a_test_needs_no_disk(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.postgres_url)
    shown = {name: await connection.fetchval(f"SHOW {name}") for name in DURABLE}
    await connection.close()
    assert set(shown.values()) == {"on"}
    stack = servers.stack
    undurable = program(stack.paths, stack.ports, find_place(stack.paths), durable=False).argv
    # What a killed server would lose or leave half written is not switched off for tests either.
    assert [name for name in DURABLE if f"{name}=off" in undurable] == ["fsync"]


async def declare_as(servers: Servers, user: str, queue: str) -> None:
    url = broker_url(servers.stack.secrets, servers.stack.ports, user)
    connection = await aio_pika.connect(url, timeout=5)
    async with connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        await declared.delete(if_unused=False, if_empty=False)


async def publish_as(servers: Servers, user: str, exchange: str, key: str) -> None:
    connection = await aio_pika.connect(broker_url(servers.stack.secrets, servers.stack.ports, user), timeout=5)
    async with connection:
        channel = await connection.channel()
        target = await channel.get_exchange(exchange)
        await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)


async def test_the_broker_has_our_users_and_no_guest(servers: Servers) -> None:
    await declare_as(servers, "scheduler", "scheduler.commands")
    await publish_as(servers, "scheduler", "cuepost.events", "scheduler.post.due.v1")
    await publish_as(servers, "gateway", "cuepost.commands", "scheduler.create_post.v1")
    await declare_as(servers, "audit", "audit.company")
    with pytest.raises(aiormq.exceptions.ProbableAuthenticationError):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{servers.stack.ports.amqp}/", timeout=5)


@pytest.mark.parametrize(("user", "queue"), [("scheduler", "publisher.post_due"), ("audit", "scheduler.commands")])
async def test_a_user_cannot_declare_what_belongs_to_another(servers: Servers, user: str, queue: str) -> None:
    with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
        await declare_as(servers, user, queue)


@pytest.mark.parametrize(
    ("user", "exchange", "key"),
    [
        ("scheduler", "cuepost.events", "publisher.publish.succeeded.v1"),
        ("scheduler", "cuepost.commands", "scheduler.create_post.v1"),
        ("audit", "cuepost.events", "audit.x.y.v1"),
        ("gateway", "cuepost.events", "scheduler.post.due.v1"),
    ],
)
async def test_a_user_cannot_publish_in_anothers_name(servers: Servers, user: str, exchange: str, key: str) -> None:
    with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
        await publish_as(servers, user, exchange, key)


def test_servers_listen_on_loopback_only(servers: Servers) -> None:
    ports = servers.stack.ports
    own = {ports.amqp, ports.postgres, ports.distribution, ports.epmd}
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port in own]
    assert {address.port for address in listening} == own
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_up_again_changes_nothing(servers: Servers) -> None:
    before = {name: state.pid for name, state in servers.stack.states().items()}
    Stack.saved(servers.stack.root).up()
    assert {name: state.pid for name, state in servers.stack.states().items()} == before


def test_the_table_shows_memory_of_all(servers: Servers) -> None:
    found = rows(servers.stack)
    assert [row.name for row in found] == ["postgres", "epmd", "rabbitmq", "supervisord"]
    assert all(row.memory > 0 and row.state == "running" for row in found)
    assert f"{sum(row.memory for row in found) / 1024 / 1024:.1f}" in table(found)


@pytest.mark.parametrize("name", ["postgres", "epmd", "rabbitmq"])
def test_a_killed_server_comes_back_by_itself(servers: Servers, name: str) -> None:
    stack = servers.stack
    killed = stack.kill(name, signal.SIGKILL)
    until(lambda: stack.states()[name].pid not in {0, killed} and stack.healthy(name))


async def test_stop_start_restart(servers: Servers) -> None:
    stack = servers.stack
    stack.stop("postgres")
    assert not stack.healthy("postgres")
    stack.start("postgres")
    assert stack.healthy("postgres")
    before = stack.pid("postgres")
    stack.restart("postgres")
    assert stack.pid("postgres") != before


def test_up_heals_a_killed_supervisord(servers: Servers) -> None:
    stack = servers.stack
    record = stack.supervisor.record()
    assert record is not None
    before = {name: state.pid for name, state in stack.states().items()}
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: not record.alive())
    assert stack.states() == {}
    assert stack.healthy("rabbitmq"), "the broker outlives its supervisor"
    stack.up()
    after = {name: state.pid for name, state in stack.states().items()}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert stack.healthy("rabbitmq")
    assert stack.healthy("postgres")


async def test_one_life_of_a_checkout(tmp_path: Path) -> None:
    """Data outlive lost passwords and a stop, and not their checkout; nobody's home is opened, and a long path is no obstacle.

    All in one, since each start of a broker takes seconds of a processor.
    """
    home = tmp_path / "home"
    root = home / ("deep" * 20) / ("deeper" * 15)
    root.mkdir(parents=True)
    home.chmod(0o700)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path, home, root)}
    try:
        programs = await live(root, modes)
    finally:
        # As whoever finds the servers that a killed run of tests left.
        remove_servers(root)
    assert not any(program.is_running() for program in programs)
    assert sorted(path.name for path in Paths(root).local.iterdir()) == ["stack.lock"]
    assert not outside_folder(root).exists()


async def live(root: Path, modes: dict[Path, int]) -> list[psutil.Process]:
    first = start_servers(root, Ports.free(), durable=False)
    await make_a_table(first)
    if RUNS_AS_ROOT:
        await data_lie_outside(first)
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in modes} == modes

    first.stack.paths.secrets.unlink()
    first.stack.up()
    assert await kept(first)
    first.stack.down()
    first.stack.down()
    assert not first.stack.healthy("postgres")
    assert not [record for record in read_records(first.stack.paths.run) if record.group()]
    again = Stack.saved(root)
    again.up()
    again.up()
    assert await kept(servers_of(again))

    if RUNS_AS_ROOT:
        await another_checkout_takes_its_place(again)
    return [psutil.Process(state.pid) for state in Stack.saved(root).states().values()]


async def make_a_table(servers: Servers) -> None:
    connection = await asyncpg.connect(url_of(servers, "accounts", "accounts"))
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    await connection.close()


async def kept(servers: Servers) -> bool:
    connection = await asyncpg.connect(url_of(servers, "accounts", "accounts"))
    found = await connection.fetchval("SELECT to_regclass('kept')")
    assert found is None or await connection.fetchval("SELECT value FROM kept") == 7
    await connection.close()
    return found is not None


async def data_lie_outside(servers: Servers) -> None:
    """Only root needs another user, who reaches no home of mode 0700."""
    outside = outside_folder(servers.stack.root)
    assert pwd.getpwuid((outside / "data").stat().st_uid).pw_name == "cuepost"
    connection = await asyncpg.connect(servers.postgres_url)
    assert await connection.fetchval("SHOW data_directory") == str(outside / "data")
    await connection.close()


async def another_checkout_takes_its_place(stack: Stack) -> None:
    """Pull no running server away from under anyone; what a removed checkout left is put aside."""
    root = stack.root
    moved = root.with_name("moved")
    root.rename(moved)
    root.mkdir()
    with pytest.raises(StackError, match="still runs; stop it"):
        find_place(Paths(root))
    shutil.rmtree(root)
    moved.rename(root)
    stack.down()
    shutil.rmtree(root)
    root.mkdir()
    assert not await kept(start_servers(root, durable=False))
    assert (outside_folder(root) / "data-before" / "PG_VERSION").exists()
