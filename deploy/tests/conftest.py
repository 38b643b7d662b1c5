"""Servers that tests of the audit trail and its readers may restart and change, away from those of other tests."""

from collections.abc import Iterator

import pytest

from localstack.servers import Servers, start_servers


@pytest.fixture(scope="session")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Run PostgreSQL and RabbitMQ with the users and rights of a stack."""
    started = start_servers(tmp_path_factory.mktemp("own-servers"), durable=False)
    yield started
    started.stop()
