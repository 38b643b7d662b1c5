"""The local stack as a library: start, stop, scale and break the whole system, or only its servers."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localstack import postgres, rabbitmq
from localstack.errors import StackError
from localstack.health import amqp_accepts, postgres_accepts, tcp_accepts
from localstack.identity import end, read_records, send
from localstack.launch import Spec
from localstack.paths import DATA_NAMES, Paths, write_private
from localstack.ports import Ports, require_free
from localstack.postgres_place import Place, find_place, remove_outside
from localstack.rabbitmq_install import require_server
from localstack.steps import Say, Steps, silent, wait_for
from localstack.supervision import STOP_SECONDS, STOP_SECONDS_SERVICE, STOP_SIGNALS, ProcessState, Supervisor
from localstack.vault import load_secrets

SERVERS = ("postgres", "rabbitmq", "epmd")
SERVER_SETTINGS = {"postgres": ["POSTGRES_ADDRESS"], "rabbitmq": ["AMQP_ADDRESS"], "epmd": ["EPMD_PORT"]}


class Stack:
    """One stack below `root`, on its own ports; several may run on one machine.

    With `servers_only`, it is PostgreSQL and RabbitMQ alone.
    """

    def __init__(
        self,
        root: Path,
        ports: Ports | None = None,
        *,
        servers_only: bool = False,
        say: Say = silent,
        timeout: float = 60.0,
    ) -> None:
        self.root = root.resolve()
        self.ports = ports or Ports()
        self.paths = Paths(self.root)
        self.supervisor = Supervisor(self.paths)
        self.servers_only = servers_only
        self.timeout = timeout
        self._say = say

    @classmethod
    def saved(cls, root: Path, *, say: Say = silent) -> Stack:
        """Return the stack as its last `up` left it: same ports, whatever the environment says now."""
        state = Stack(root)._read_state()
        ports = Ports(**state["ports"]) if "ports" in state else Ports()
        return cls(root, ports, servers_only=bool(state.get("servers_only")), say=say)

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self.paths.state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def _save_state(self) -> None:
        state = {"ports": self.ports.as_dict(), "servers_only": self.servers_only}
        write_private(self.paths.state, json.dumps(state, indent=1) + "\n")

    @property
    def secrets(self) -> dict[str, Any]:
        """The stack's passwords and keys."""
        return load_secrets(self.paths)

    def up(self) -> None:
        """Start what does not run yet, in the order of health; harmless when all of it runs."""
        self.paths.create()
        with self._locked():
            self._up(Steps(self._say))

    def _up(self, steps: Steps) -> None:
        place, server, epmd = find_place(self.paths), require_server(), rabbitmq.find_epmd()
        if epmd is None:
            raise StackError("epmd, a part of Erlang, was not found; reinstall Erlang (Debian: erlang-base)")
        specs = [postgres.program(self.paths, self.ports, place), *self._broker_specs(server, epmd)]
        self._ensure_supervisor(specs)
        self._save_state()
        self._start_servers(place, steps)

    def _broker_specs(self, server: Path, epmd: Path) -> list[Spec]:
        rabbitmq.write_configuration(self.paths, self.ports, self.secrets)
        return rabbitmq.programs(self.paths, self.ports, server, epmd)

    def _ensure_supervisor(self, specs: Sequence[Spec]) -> None:
        if self.supervisor.alive():
            self.supervisor.update(specs)
            self._check_ports({name for name, state in self.states().items() if state.running})
            return
        self._end_orphans()
        self._check_ports(set())
        self.supervisor.start(specs)

    def _check_ports(self, running: set[str]) -> None:
        ports = self.ports
        needed = {
            "postgres": {"PostgreSQL": (ports.postgres, "POSTGRES_ADDRESS")},
            "rabbitmq": {
                "RabbitMQ": (ports.amqp, "AMQP_ADDRESS"),
                "Erlang distribution": (ports.distribution, "ERLANG_DISTRIBUTION_PORT"),
            },
            "epmd": {"Erlang port mapper": (ports.epmd, "EPMD_PORT")},
        }
        require_free({k: v for name, entry in needed.items() if name not in running for k, v in entry.items()})

    def _start_servers(self, place: Place, steps: Steps) -> None:
        with ThreadPoolExecutor(max_workers=2) as pool:
            together([pool.submit(self._start_postgres, place, steps), pool.submit(self._start_rabbitmq, steps)])

    def _start_postgres(self, place: Place, steps: Steps) -> None:
        with steps.step("PostgreSQL", "accepts connections"):
            secrets = self.secrets
            if postgres.needs_preparation(place, secrets):
                self.supervisor.stop(["postgres"])
                postgres.prepare(place, secrets)
            self._start_and_wait("postgres", lambda: postgres_accepts(self.ports.postgres))

    def _start_rabbitmq(self, steps: Steps) -> None:
        with steps.step("RabbitMQ", "accepts connections"):
            self._start_and_wait("epmd", lambda: tcp_accepts(self.ports.epmd))
            self._start_and_wait("rabbitmq", lambda: amqp_accepts(self.ports.amqp))

    def _start_and_wait(self, name: str, ready: Callable[[], bool]) -> None:
        self.supervisor.start_program(name)
        wait_for(self.supervisor, name, ready, self.timeout, self.paths.log / f"{name}.log")

    def down(self) -> None:
        """Stop everything, services first; data stays. Harmless when nothing runs."""
        if not self.paths.local.exists():
            return
        with self._locked():
            self._down()

    def _down(self) -> None:
        if self.supervisor.alive():
            names = set(self.states())
            for phase in (names - {*SERVERS, "simulator"}, {"simulator"} & names, {"rabbitmq", "postgres"} & names):
                self.supervisor.stop(phase)
            self.supervisor.shutdown()
        self._end_orphans()

    def _end_orphans(self) -> None:
        """End processes of an earlier life whose supervisord is gone; each is known by pid and birth."""
        records = read_records(self.paths.run)
        end([record for record in records if record.name == "supervisord"], signal.SIGKILL, 0)
        left = [record for record in records if record.name != "supervisord" and record.group()]
        services = [record for record in left if record.name not in SERVERS]
        end(services, signal.SIGTERM, STOP_SECONDS_SERVICE)
        for name in ("rabbitmq", "postgres", "epmd"):
            number = STOP_SIGNALS.get(name, signal.SIGTERM)
            end([record for record in left if record.name == name], number, STOP_SECONDS[name])
        for record in records:
            (self.paths.run / f"{record.name}.json").unlink(missing_ok=True)

    def reset(self) -> None:
        """Stop everything and remove the stack's data; the bootstrap's tools stay."""
        if not self.paths.local.exists():
            return
        with self._locked():
            self._down()
            remove_outside(self.paths)
            for name in DATA_NAMES:
                path = self.paths.local / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def states(self) -> dict[str, ProcessState]:
        """Every program by name; empty when the stack is down."""
        return self.supervisor.states() if self.supervisor.alive() else {}

    def pid(self, name: str) -> int:
        """Return the pid of a running program; raises StackError when it does not run."""
        state = self.states().get(name)
        if state is None or not state.pid:
            raise StackError(f"{name} does not run")
        return state.pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a program's process; supervisor starts it again. Returns the pid it had."""
        pid = self.pid(name)
        send(pid, number)
        return pid

    def stop(self, name: str) -> None:
        """Stop a program until `start`; waits for its end."""
        self.supervisor.stop([name])

    def start(self, name: str) -> None:
        """Start a program that was stopped and wait until it is healthy."""
        self._start_and_wait(name, self.health(name))

    def restart(self, name: str) -> None:
        """Stop and start a program."""
        self.stop(name)
        self.start(name)

    def health(self, name: str) -> Callable[[], bool]:
        """Return the check that tells whether a program is healthy."""
        checks: Mapping[str, Callable[[], bool]] = {
            "postgres": lambda: postgres_accepts(self.ports.postgres),
            "rabbitmq": lambda: amqp_accepts(self.ports.amqp),
            "epmd": lambda: tcp_accepts(self.ports.epmd),
        }
        return checks[name]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def together(futures: Sequence[Any]) -> None:
    """Wait for all; raise the first error once all have ended."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
