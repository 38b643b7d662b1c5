"""Pytest plugin with the fixtures that need servers; activated by the root `conftest.py`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from common.testing.broker_queues import QueueRecorder
from common.testing.databases import TestDatabases
from common.testing.keys import ServiceKeys, UserKeys
from common.testing.servers import TestServers

DatabaseUrl = Callable[[str], Awaitable[str]]


@pytest.fixture(scope="session")
def run_servers() -> Iterator[TestServers]:
    """Find the servers of this run, started when first asked for."""
    servers = TestServers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def postgres_url(run_servers: TestServers) -> str:
    """Return the address of a PostgreSQL with the right to create databases."""
    return run_servers.postgres_url


@pytest.fixture(scope="session")
def rabbitmq_url(run_servers: TestServers) -> str:
    """Return the address of a RabbitMQ virtual host with all rights; prefer `broker_url`, which cleans up."""
    return run_servers.rabbitmq_url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def run_databases(postgres_url: str) -> AsyncIterator[TestDatabases]:
    """Give the maker of databases; drops them at the end of the run."""
    databases = TestDatabases(postgres_url)
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


@pytest_asyncio.fixture(loop_scope="session")
async def broker_url(rabbitmq_url: str, queue_recorder: QueueRecorder) -> AsyncIterator[str]:
    """Give the address of RabbitMQ; the queues a test declares in this process are deleted after it."""
    yield rabbitmq_url
    await queue_recorder.delete_all(rabbitmq_url)


@pytest.fixture(scope="session")
def user_keys() -> UserKeys:
    """Return a signing key of user tokens."""
    return UserKeys()


@pytest.fixture(scope="session")
def service_keys() -> ServiceKeys:
    """Return a key pair for each service."""
    return ServiceKeys()
