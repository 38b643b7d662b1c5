"""One whole stack for all system tests: real PostgreSQL, RabbitMQ, simulator and services, two schedulers, three publishers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack.ports import Ports
from localstack.stack import Stack
from system.operator import Operator

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Run a stack of its own ports and data folder, away from the one that `make up` runs; its logs stay after a failure."""
    folder = ROOT / ".local" / "tests" / "system"
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(
        folder,
        Ports.free(),
        replicas={"scheduler": 2, "publisher": 3},
        environment={
            "RATE_LIMIT_PER_USER": "100000/minute",
            "RATE_LIMIT_PER_ADDRESS": "100000/minute",
            "LEASE_SECONDS": "3",
        },
    )
    # What an interrupted run left, its database wherever it lies.
    stack.reset()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        if not request.session.testsfailed:
            stack.reset()


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    """Whoever runs and watches the system; after each test everything runs again and no fault is left."""
    operator = Operator(stack)
    yield operator
    operator.restore()
    operator.close()
