"""One whole stack for all system tests: real PostgreSQL, RabbitMQ, simulator and services, several replicas of most."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.testing.secret_scan import SecretScan
from common.testing.server_folder import ServerFolder, base_folder
from localstack.ports import Ports
from localstack.servers import remove_servers
from localstack.stack import Stack
from system.crashing import crashing
from system.operator import Operator
from system.stack_secrets import note

ROOT = Path(__file__).parents[1]
LOGS = ROOT / ".local" / "tests" / "system"
LAST = "test_no_secret_is_written.py"
"""Looks at what all other tests made the system write."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the scan behind the tests that it judges."""
    last = [item for item in items if item.path.name == LAST]
    if last:
        here = [number for number, item in enumerate(items) if item.path.parent == Path(__file__).parent]
        rest = [item for item in items[here[0] : here[-1] + 1] if item not in last]
        items[here[0] : here[-1] + 1] = [*rest, *last]


@pytest.fixture(scope="session")
def passed_secrets() -> list[str]:
    """Passwords and tokens that any test of this run sent or was given."""
    return []


@pytest.fixture(scope="session")
def crash_points() -> Path:
    """Return where the publishers look for points at which one of them shall die, see `system.crashing`."""
    return ROOT / ".local" / "tests" / "crash_points"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, secret_scan: SecretScan, crash_points: Path) -> Iterator[Stack]:
    """Run a stack of its own ports and data folder, away from the one that `make up` runs; its logs stay after a failure.

    Its servers do not wait for a disk: tests kill them, not the machine.
    """
    folder = ServerFolder(base_folder(), stop=remove_servers)
    stack = Stack(
        folder.path,
        Ports.free(),
        durable=False,
        replicas={"gateway": 2, "scheduler": 2, "publisher": 3},
        environment={
            "RATE_LIMIT_PER_USER": "100000/minute",
            "RATE_LIMIT_PER_ADDRESS": "100000/minute",
            "LEASE_SECONDS": "3",
            "DISCONNECT_CHECK_SECONDS": "1",
            "RETRY_DELAYS_SECONDS": "[2, 4, 8, 16]",
            # Media are fetched from servers of the tests' own on this machine.
            "SOURCE_URL_ALLOWED_HOSTS": '["127.0.0.1"]',
            "SIMULATOR_PULL_LOOPBACK": "true",
        },
        **crashing(crash_points),
    )
    shutil.rmtree(LOGS, ignore_errors=True)
    failed = True
    try:
        stack.up()
        yield stack
        stack.up()
        note(stack, secret_scan)
        failed = request.session.testsfailed > 0
    finally:
        stack.down()
        if failed:
            shutil.copytree(stack.paths.log, LOGS)
        stack.reset()
        folder.remove()


@pytest.fixture
def operator(stack: Stack, passed_secrets: list[str]) -> Iterator[Operator]:
    """Whoever runs and watches the system; after each test everything runs again and no fault is left."""
    operator = Operator(stack)
    yield operator
    passed_secrets += operator.user.secrets
    operator.restore()
    twice = operator.published_twice()
    operator.close()
    # Also by what came after a test had judged its own posts.
    assert twice == []
