"""The health-ordered start: servers, simulator, migrations, accounts, then the services that need it, then the gateway."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from localstack import postgres
from localstack.blueprint import Blueprint
from localstack.errors import NotReadyError, StackError
from localstack.health import amqp_accepts, http_ok, postgres_accepts, readiness_problems, tcp_accepts, warnings
from localstack.paths import CHECKOUT, Paths
from localstack.ports import SERVICES
from localstack.postgres_place import Place
from localstack.service_environment import platform_environment
from localstack.steps import Steps, wait_for
from localstack.supervision import Supervisor
from localstack.vault import DATABASE_SERVICES

MIGRATION_SECONDS = 3_600
"""Taking over years of events takes its time."""
MIDDLE = ("scheduler", "publisher", "analytics")


def health_check(blueprint: Blueprint, program: str) -> Callable[[], bool]:
    """Return the check that tells whether a program does its work."""
    ports = blueprint.ports
    servers: Mapping[str, Callable[[], bool]] = {
        "postgres": lambda: postgres_accepts(ports.postgres),
        "rabbitmq": lambda: amqp_accepts(ports.amqp),
        "epmd": lambda: tcp_accepts(ports.epmd),
        "simulator": lambda: http_ok(ports.simulator, "/healthz"),
    }
    if program in servers:
        return servers[program]
    service, _, replica = program.rpartition("-")
    host = ports.gateway_host if service == "gateway" else "127.0.0.1"
    return lambda: http_ok(ports.http(service, int(replica)), "/readyz", host)


def problems_of(blueprint: Blueprint, program: str) -> list[str]:
    """Return what a service that lives says it lacks; nothing for a server, or when the service does not answer."""
    address = _address(blueprint, program)
    return [] if address is None else readiness_problems(*address)


def warnings_of(blueprint: Blueprint, program: str) -> list[str]:
    """Return what a service that lives wants to be looked at, and what it lacks."""
    address = _address(blueprint, program)
    return [] if address is None else [*readiness_problems(*address), *warnings(*address)]


def _address(blueprint: Blueprint, program: str) -> tuple[int, str] | None:
    """Return port and host of a service, None for a server."""
    service, _, replica = program.rpartition("-")
    if service not in SERVICES:
        return None
    return blueprint.ports.http(service, int(replica)), blueprint.ports.gateway_host if service == "gateway" else "127.0.0.1"


class Startup:
    """One start of a stack whose programs supervisor knows already."""

    def __init__(
        self, blueprint: Blueprint, paths: Paths, supervisor: Supervisor, secrets: dict[str, Any], timeout: float
    ) -> None:
        self._blueprint = blueprint
        self._paths = paths
        self._supervisor = supervisor
        self._secrets = secrets
        self._timeout = timeout

    def run(self, place: Place, steps: Steps) -> None:
        """Start everything in order; what runs already is only checked. Raises StackError at the first failure."""
        with ThreadPoolExecutor(max_workers=8) as pool:
            database = pool.submit(self._postgres, place, steps)
            others = [pool.submit(self._rabbitmq, steps)]
            if self._blueprint.simulated:
                others.append(pool.submit(self._programs, ["simulator"], "TikTok simulator", "healthy", steps))
            database.result()
            if not self._blueprint.servers_only:
                others += [pool.submit(self._migrate, place, service, steps) for service in DATABASE_SERVICES]
            together(others)
            if self._blueprint.servers_only:
                return
            self._service("accounts", steps)
            together([pool.submit(self._service, service, steps) for service in MIDDLE])
            self._service("gateway", steps)

    def start_and_wait(self, name: str) -> None:
        """Start a program and wait until it is healthy; a service that answers, but not ready, is restarted once.

        Raises StackError with what such a service says it lacks, otherwise with the end of its log.
        """
        try:
            self._start_and_wait(name)
        except NotReadyError:
            if not problems_of(self._blueprint, name):
                raise
            self._supervisor.stop([name])
            self._restarted(name)

    def _restarted(self, name: str) -> None:
        try:
            self._start_and_wait(name)
        except NotReadyError as error:
            lines = problems_of(self._blueprint, name)
            if not lines:
                raise
            log, listed = self._paths.log / f"{name}.log", "\n".join(f"  {line}" for line in lines)
            message = f"{name} is not ready after {self._timeout:.0f} s, nor was it before it was restarted once"
            raise StackError(f"{message}; it lacks:\n{listed}\nits log: {log}") from error

    def _start_and_wait(self, name: str) -> None:
        self._supervisor.start_program(name)
        ready = health_check(self._blueprint, name)
        wait_for(self._supervisor, name, ready, self._timeout, self._paths.log / f"{name}.log")

    def start_all(self, names: Sequence[str]) -> None:
        """Start programs side by side and wait until all of them are healthy."""
        for name in names:
            self._supervisor.start_program(name)
        for name in names:
            self.start_and_wait(name)

    def _service(self, service: str, steps: Steps) -> None:
        self._programs(self._blueprint.processes(service), service, "ready", steps)

    def _programs(self, names: Sequence[str], what: str, done: str, steps: Steps) -> None:
        title = f"{what} ({len(names)})" if len(names) > 1 else what
        with steps.step(title, done):
            self.start_all(names)

    def _postgres(self, place: Place, steps: Steps) -> None:
        with steps.step("PostgreSQL", "accepts connections"):
            if postgres.needs_preparation(place, self._secrets):
                self._supervisor.stop(["postgres"])
                postgres.prepare(place, self._secrets)
            self.start_and_wait("postgres")

    def _rabbitmq(self, steps: Steps) -> None:
        with steps.step("RabbitMQ", "accepts connections"):
            self.start_and_wait("epmd")
            self.start_and_wait("rabbitmq")

    def _migrate(self, place: Place, service: str, steps: Steps) -> None:
        stamp = self._paths.migrated / service
        wanted = f"{_versions(service)} {_cluster(place)}"
        with steps.step(f"migrations of {service}", "up to date"):
            if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
                migrate(self._blueprint, self._secrets, service)
                stamp.write_text(wanted, encoding="utf-8")


def migrate(blueprint: Blueprint, secrets: dict[str, Any], service: str) -> None:
    """Bring a service's database to its newest version; raises StackError with what the migration said."""
    url = postgres.owner_url(secrets, blueprint.ports, service)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "common.database.migrate", service],
        env={**platform_environment(), "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=MIGRATION_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"the migrations of {service} failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")


def _versions(service: str) -> str:
    """Return a digest of the service's migrations and of the tables they take from common."""
    folders = [CHECKOUT / f"services/{service}/src/{service}/migrations", CHECKOUT / "libs/common/src/common/database"]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _cluster(place: Place) -> str:
    """Return what tells this cluster from an earlier one at the same place."""
    version: Path = place.data / "PG_VERSION"
    status = version.stat()
    return f"{status.st_ino}:{status.st_mtime_ns}"


def together(futures: Sequence[Future[None]]) -> None:
    """Wait for all; raise the first error once all have ended."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
