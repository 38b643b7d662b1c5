"""Pytest plugin with the fixtures that need servers, and the scan for secrets that ends every run; see the root `conftest.py`."""

import gc
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from httpx._transports import default
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.util import LRUCache

from common.database import database
from common.testing.broker_queues import QueueRecorder
from common.testing.databases import TestDatabases
from common.testing.forked_programs import ForkedPrograms
from common.testing.kept_connections import KeptConnections
from common.testing.keys import ServiceKeys, UserKeys
from common.testing.secret_scan import SHOWN, SecretScan, of_report
from common.testing.servers import TestServers

DatabaseUrl = Callable[[str], Awaitable[str]]
SCAN = pytest.StashKey[SecretScan]()
CONNECTIONS = pytest.StashKey[KeptConnections]()
VERDICT = pytest.StashKey[list[str]]()
COMPILED_STATEMENTS = 5_000
LISTENING = pytest.StashKey[pytest.MonkeyPatch]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to note secrets, and what is written; let interrupts end what tests start.

    A run that was started in the background ignores interrupts, and so would every process that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _write_traces_plainly()
    _load_certificates_once()
    config.stash[CONNECTIONS] = KeptConnections()
    _share_between_engines(config.stash[CONNECTIONS])
    _collect_garbage_seldom()
    config.stash[SCAN], config.stash[LISTENING] = SecretScan(), pytest.MonkeyPatch()
    config.stash[SCAN].install(config.stash[LISTENING])


def _write_traces_plainly() -> None:
    """Have structlog write traces as they are: drawn with their local variables, they took a sixth of some runs."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


def _load_certificates_once() -> None:
    """Have all HTTP clients of this process share what they trust by default: each read it anew, half of the time of some files."""
    names = vars(default)
    load: Callable[..., ssl.SSLContext] = names["create_ssl_context"]
    shared: dict[bool, ssl.SSLContext] = {}

    def load_once(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is not True or cert is not None:
            return load(verify=verify, cert=cert, trust_env=trust_env)
        if trust_env not in shared:
            shared[trust_env] = load(trust_env=trust_env)
        return shared[trust_env]

    names["create_ssl_context"] = load_once


def _share_between_engines(connections: KeptConnections) -> None:
    """Have all engines of this process share connections, and what they compiled.

    Each test has engines of its own, and compiled a tenth of its time.
    SQLAlchemy keeps compiled statements by dialect and statement. All engines here have dialects of one class for servers of one
    version, which compile alike.
    """
    shared: LRUCache[Any, Any] = LRUCache(COMPILED_STATEMENTS)
    names = vars(database)
    create: Callable[..., Any] = names["create_async_engine"]

    def create_with_shared(*args: Any, **options: Any) -> Any:
        options["connect_args"] = {**options.get("connect_args", {}), "async_creator_fn": connections.connect}
        engine = create(*args, **options)
        engine.sync_engine._compiled_cache = shared  # noqa: SLF001 - there is no public way
        return engine

    names["create_async_engine"] = create_with_shared
    dialect: Any = PGDialect_asyncpg
    dialect.__eq__ = lambda one, other: type(one) is type(other)
    dialect.__hash__ = lambda one: hash(type(one))


def _collect_garbage_seldom() -> None:
    """Look for garbage after 50,000 new objects instead of 700 (2,000 in later Pythons): services are made anew for each test."""
    gc.set_threshold(50_000, *gc.get_threshold()[1:])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what a test logged; the report of its last phase holds all of it."""
    report = yield
    if report.when == "teardown":
        item.config.stash[SCAN].log(of_report(report))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Fail the run when a secret was written anywhere; after the fixtures' end, which a run that is cut short has only here."""
    yield
    scan = session.config.stash[SCAN]
    session.config.stash[VERDICT] = verdict = scan.verdict()
    session.config.stash[LISTENING].undo()
    scan.close()
    if verdict:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was found."""
    verdict = config.stash.get(VERDICT, [])
    if verdict:
        terminalreporter.section("secrets in the clear")
    for line in verdict[:SHOWN]:
        terminalreporter.write_line(f"ERROR {line}", red=True)
    if len(verdict) > SHOWN:
        terminalreporter.write_line(f"ERROR and {len(verdict) - SHOWN} more")


@pytest.fixture(scope="session")
def secret_scan(request: pytest.FixtureRequest) -> SecretScan:
    """Return what notes secrets, and everything written, until the run ends."""
    return request.config.stash[SCAN]


@pytest.fixture(scope="session")
def program_log(secret_scan: SecretScan) -> Callable[[str], Path]:
    """Return a function from a program's name to a new file for its log, which is scanned for secrets with everything else."""
    return secret_scan.log_file


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def forked_programs() -> AsyncIterator[ForkedPrograms]:
    """Give what starts programs quickly; what still runs at the end is killed."""
    programs = ForkedPrograms()
    yield programs
    await programs.stop()


@pytest.fixture(scope="session")
def run_servers(secret_scan: SecretScan) -> Iterator[TestServers]:
    """Find the servers of this run, started when first asked for."""
    servers = TestServers()
    yield servers
    servers.stop(keep=secret_scan.file)


@pytest.fixture(scope="session")
def postgres_url(run_servers: TestServers) -> str:
    """Return the address of a PostgreSQL with the right to create databases."""
    return run_servers.postgres_url


@pytest.fixture(scope="session")
def rabbitmq_url(run_servers: TestServers) -> str:
    """Return the address of a RabbitMQ virtual host with all rights; prefer `broker_url`, which cleans up."""
    return run_servers.rabbitmq_url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def run_databases(
    postgres_url: str, secret_scan: SecretScan, pytestconfig: pytest.Config
) -> AsyncIterator[TestDatabases]:
    """Give the maker of databases; drops them at the end of the run."""
    databases = TestDatabases(postgres_url, keep=secret_scan.rows, connections=pytestconfig.stash[CONNECTIONS])
    yield databases
    await databases.drop_all()


@pytest.fixture(scope="session")
def database_url(run_databases: TestDatabases) -> DatabaseUrl:
    """Return an async function from a service's name to the address of this run's migrated database of it."""
    return run_databases.url


@pytest.fixture
def clean_database(run_databases: TestDatabases) -> DatabaseUrl:
    """Return a function like `database_url` that also removes the rows of earlier tests."""
    return run_databases.clean


@pytest.fixture
def migrated_database(run_databases: TestDatabases) -> DatabaseUrl:
    """Return an async function from a service's name to the address of another database of it, used by nobody else."""
    return run_databases.migrated


@pytest.fixture
def as_owner(run_databases: TestDatabases) -> Callable[[str], str]:
    """Return a function from a database's address to the one for the role that owns it and may do anything."""
    return run_databases.as_owner


@pytest.fixture
def empty_database(run_databases: TestDatabases) -> DatabaseUrl:
    """Return an async function from a label to the address of a new database without any table."""
    return run_databases.create


@pytest.fixture(scope="session")
def queue_recorder() -> Iterator[QueueRecorder]:
    """Note every queue declared in this process."""
    recorder = QueueRecorder()
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder.install(monkeypatch)
        yield recorder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def file_queues(rabbitmq_url: str, queue_recorder: QueueRecorder, secret_scan: SecretScan) -> AsyncIterator[str]:
    """Give the address of RabbitMQ; the queues that stay between the tests of a file are deleted after them."""
    yield rabbitmq_url
    await queue_recorder.delete_all(rabbitmq_url, keep=secret_scan.message)


@pytest_asyncio.fixture(loop_scope="session")
async def broker_url(file_queues: str, queue_recorder: QueueRecorder, secret_scan: SecretScan) -> AsyncIterator[str]:
    """Give the address of RabbitMQ; the queues a test declares in this process are deleted or emptied after it."""
    yield file_queues
    await queue_recorder.end_test(file_queues, keep=secret_scan.message)


@pytest.fixture(scope="session")
def user_keys() -> UserKeys:
    """Return a signing key of user tokens."""
    return UserKeys()


@pytest.fixture(scope="session")
def service_keys() -> ServiceKeys:
    """Return a key pair for each service."""
    return ServiceKeys()
