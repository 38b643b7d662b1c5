"""Where tests find PostgreSQL and RabbitMQ: given addresses, else containers, else the local stack's own servers."""

import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.testing.server_folder import ServerFolder, base_folder

POSTGRES_VARIABLE = "TEST_POSTGRES_URL"
RABBITMQ_VARIABLE = "TEST_RABBITMQ_URL"
DOCKER_PATIENCE_SECONDS = 1
CONTAINER_PATIENCE_SECONDS = 120


class TestServers:
    """PostgreSQL and RabbitMQ for one test run; each is started when first asked for and stopped by `stop`.

    Tests end servers, never the machine: what a server has written is there after its end, whether a disk has it or not. So it
    waits for no disk, and data are in memory where there is room. For whoever measures, `durable` servers write as in production.
    """

    __test__ = False

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._stops: list[Callable[[], object]] = []
        self._postgres_url = os.environ.get(POSTGRES_VARIABLE) or None
        self._rabbitmq_url = os.environ.get(RABBITMQ_VARIABLE) or None
        self._docker: bool | None = None
        self._folder: Path | None = None

    @property
    def postgres_url(self) -> str:
        """Address of a PostgreSQL where databases and roles may be made (a superuser's)."""
        if self._postgres_url is None:
            if self._docker_answers():
                self._postgres_url = self._start_postgres_container()
            else:
                self._start_local_servers()
        assert self._postgres_url is not None  # noqa: S101 - both ways above set it
        return self._postgres_url

    @property
    def rabbitmq_url(self) -> str:
        """Address of a RabbitMQ virtual host with all rights."""
        if self._rabbitmq_url is None:
            if self._docker_answers():
                self._rabbitmq_url = self._start_rabbitmq_container()
            else:
                self._start_local_servers()
        assert self._rabbitmq_url is not None  # noqa: S101 - both ways above set it
        return self._rabbitmq_url

    def stop(self, *, keep: Callable[[Path], None] | None = None) -> None:
        """Stop what this object started; `keep` is given the logs of servers that it started here."""
        if keep is not None and self._folder is not None:
            for path in sorted(self._folder.rglob("*.log")):
                keep(path)
        while self._stops:
            self._stops.pop()()

    def _docker_answers(self) -> bool:
        if self._docker is None:
            self._docker = docker_answers()
        return self._docker

    def _start_local_servers(self) -> None:
        servers_module: Any = importlib.import_module("localstack.servers")
        base = Path(tempfile.gettempdir()) if self._durable else base_folder()
        folder = ServerFolder(base, stop=servers_module.remove_servers)
        self._folder = folder.path
        self._stops.append(folder.remove)
        servers = servers_module.start_servers(folder.path, durable=self._durable)
        self._stops.append(servers.stop)
        self._postgres_url = self._postgres_url or servers.postgres_url
        self._rabbitmq_url = self._rabbitmq_url or servers.rabbitmq_url

    def _start_postgres_container(self) -> str:
        container = _container("postgres:18").with_env("POSTGRES_PASSWORD", "test")
        settings = "" if self._durable else " -c fsync=off"
        container = container.with_command(f"postgres{settings} -c max_connections=300")
        host, port = self._run(container, 5432)
        return f"postgresql://postgres:test@{host}:{port}/postgres"

    def _start_rabbitmq_container(self) -> str:
        host, port = self._run(_container("rabbitmq:4"), 5672)
        return f"amqp://guest:guest@{host}:{port}/"

    def _run(self, container: Any, port: int) -> tuple[str, int]:
        strategies: Any = importlib.import_module("testcontainers.core.wait_strategies")
        waiting = strategies.PortWaitStrategy(port).with_startup_timeout(CONTAINER_PATIENCE_SECONDS)
        container.with_exposed_ports(port).waiting_for(waiting).start()
        self._stops.append(container.stop)
        return container.get_container_host_ip(), int(container.get_exposed_port(port))


def _container(image: str) -> Any:
    return importlib.import_module("testcontainers.core.container").DockerContainer(image)


def docker_answers() -> bool:
    """Whether a Docker engine answers within a second."""
    docker: Any = importlib.import_module("docker")
    try:
        client = docker.from_env(timeout=DOCKER_PATIENCE_SECONDS)
        client.ping()
        client.close()
    except (docker.errors.DockerException, OSError):
        return False
    return True
