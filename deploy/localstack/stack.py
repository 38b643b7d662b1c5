"""The local stack as a library: start, stop, scale and break the whole system, or only its servers."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from localstack import postgres, rabbitmq
from localstack.blueprint import SERVERS, Blueprint, listening_ports
from localstack.errors import StackError
from localstack.identity import end, read_records, send
from localstack.launch import Spec
from localstack.paths import DATA_NAMES, Paths
from localstack.ports import Ports, require_free
from localstack.postgres_place import find_place, remove_outside
from localstack.rabbitmq_install import require_server
from localstack.service_environment import program_environment, program_specs
from localstack.settings_check import require_settings, unchecked
from localstack.startup import Startup, health_check
from localstack.steps import Say, Steps, silent
from localstack.supervision import ProcessState, Supervisor
from localstack.supervisor_config import STOP_SECONDS, STOP_SECONDS_SERVICE, STOP_SIGNALS
from localstack.vault import load_secrets


class Stack:
    """One stack below `root`, on its own ports; several may run on one machine.

    With `servers_only`, it is PostgreSQL and RabbitMQ alone. Programs are named `postgres`, `rabbitmq`, `epmd`,
    `simulator` and `<service>-<n>`. `timeout` is the patience with each program's start, in seconds. With `durable` off,
    PostgreSQL does not wait for the disk: what is committed outlives its process, not the machine. That is for tests only.
    """

    def __init__(
        self,
        root: Path,
        ports: Ports | None = None,
        *,
        servers_only: bool = False,
        durable: bool = True,
        replicas: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        service_environment: Mapping[str, Mapping[str, str]] | None = None,
        modules: Mapping[str, str] | None = None,
        blueprint: Blueprint | None = None,
        say: Say = silent,
        timeout: float = 180.0,
    ) -> None:
        self.root = root.resolve()
        self.paths = Paths(self.root)
        self.supervisor = Supervisor(self.paths)
        self.timeout = timeout
        self.blueprint = blueprint or Blueprint(
            ports=ports or Ports(),
            servers_only=servers_only,
            durable=durable,
            replicas=dict(replicas or {}),
            environment=dict(environment or {}),
            service_environment={name: dict(values) for name, values in (service_environment or {}).items()},
            modules=dict(modules or {}),
        )
        self._say = say

    @classmethod
    def saved(cls, root: Path, *, say: Say = silent) -> Stack:
        """Return the stack as its last successful `up` left it: same ports and overrides, whatever the environment says now."""
        return cls(root, blueprint=Blueprint.load(Paths(root.resolve())), say=say)

    @property
    def ports(self) -> Ports:
        """The stack's addresses."""
        return self.blueprint.ports

    @property
    def secrets(self) -> dict[str, Any]:
        """The stack's passwords and keys."""
        return load_secrets(self.paths)

    def env(self, program: str) -> dict[str, str]:
        """Return the environment of a service, as its first replica or the named one has it."""
        service, _, number = program.rpartition("-")
        name, replica = (service, int(number)) if number.isdigit() else (program, 1)
        return program_environment(self.blueprint, self.paths, self.secrets, name, replica)

    def up(self) -> None:
        """Start what does not run yet, in the order of health; harmless when all of it runs.

        Raises StackError on wrong settings or a port in use, with nothing changed. The stack is stored once it is healthy.
        """
        with self.exclusive():
            self.up_alone()

    def up_alone(self) -> None:
        """Do what `up` does, for a caller within `exclusive`."""
        self._up(Steps(self._say))

    def _up(self, steps: Steps) -> None:
        server, epmd = require_server(self._say), rabbitmq.find_epmd()
        place, secrets = find_place(self.paths), self.secrets
        programs = program_specs(self.blueprint, self.paths, secrets)
        self._require_settings(programs)
        rabbitmq.write_configuration(self.paths, self.ports, secrets)
        specs = [
            postgres.program(self.paths, self.ports, place, durable=self.blueprint.durable),
            *rabbitmq.programs(self.paths, self.ports, server, epmd),
            *programs,
        ]
        self._ensure_supervisor(specs)
        self._startup().run(place, steps)
        self.blueprint.save(self.paths)

    def _require_settings(self, programs: list[Spec]) -> None:
        """Check the settings of what would change, of every program when nothing runs; raises StackError."""
        wanted = unchecked(self.paths, programs) if self.supervisor.alive() else programs
        if wanted:
            require_settings(self.paths, wanted)

    def _startup(self) -> Startup:
        return Startup(self.blueprint, self.paths, self.supervisor, self.secrets, self.timeout)

    def _ensure_supervisor(self, specs: list[Spec]) -> None:
        """Make supervisord run and know these programs; raises StackError, with nothing changed, on a port in use."""
        if self.supervisor.alive():
            running = [name for name, state in self.states().items() if state.running]
            before = listening_ports(Blueprint.load_configured(self.paths) or self.blueprint)
            self._check_ports({port for name in running for port, _ in before.get(name, {}).values()})
            self.blueprint.save_configured(self.paths)
            self.supervisor.update(specs)
            return
        self._end_orphans()
        self._check_ports(set())
        self.blueprint.save_configured(self.paths)
        self.supervisor.start(specs)

    def _check_ports(self, own: set[int]) -> None:
        """Check every port but those that running programs of this stack hold now."""
        wanted = {what: entry for entries in listening_ports(self.blueprint).values() for what, entry in entries.items()}
        require_free({what: entry for what, entry in wanted.items() if entry[0] not in own}, self.ports)

    def down(self) -> None:
        """Stop everything, services first; data stays. Harmless when nothing runs."""
        if not self.paths.local.exists():
            return
        with self._locked():
            self._down()

    def _down(self) -> None:
        if self.supervisor.alive():
            names = set(self.states())
            for phase in (names - {*SERVERS, "simulator"}, {"simulator"}, {"rabbitmq", "postgres"}, {"epmd"}):
                self.supervisor.stop(phase & names)
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

    def scale(self, service: str, count: int) -> None:
        """Run `count` replicas of a service from now on; replicas that stay are not touched."""
        with self.exclusive():
            self.reread()
            wanted = self.blueprint.scaled(service, count)
            if not self.supervisor.alive():
                raise StackError("the stack does not run; start it with: make up")
            self.blueprint = wanted
            servers = [self.supervisor.known_spec(name) for name in SERVERS]
            # Those that stay keep the code they run: only `up` restarts what changed, in the order of health.
            specs = [
                self.supervisor.known_spec(spec.name) if self.supervisor.knows(spec.name) else spec
                for spec in program_specs(wanted, self.paths, self.secrets)
            ]
            self._ensure_supervisor([*servers, *specs])
            wanted.save(self.paths)
            self._startup().start_all(wanted.processes(service))

    def orphans(self) -> list[str]:
        """Return the programs that still run although supervisord is gone; `up` ends and restarts them."""
        return [record.name for record in read_records(self.paths.run) if record.group()]

    def states(self) -> dict[str, ProcessState]:
        """Return every program by name; empty when the stack is down."""
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

    def healthy(self, name: str) -> bool:
        """Whether a program does its work now."""
        return health_check(self.blueprint, name)()

    def stop(self, name: str) -> None:
        """Stop a program until `start`; waits for its end."""
        self.supervisor.stop([name])

    def start(self, name: str) -> None:
        """Start a program that was stopped and wait until it is healthy."""
        self._startup().start_and_wait(name)

    def restart(self, name: str) -> None:
        """Stop and start a program."""
        self.stop(name)
        self.start(name)

    def change_program(self, name: str, settings: Mapping[str, str]) -> None:
        """Restart one program with other values of single settings and wait until it is healthy; call it within `exclusive`.

        Everything else of it, and every other program, stays as it was configured last.
        """
        specs = {known: self.supervisor.known_spec(known) for known in self.states()}
        specs[name] = replace(specs[name], env={**specs[name].env, **settings})
        if not self.supervisor.update(specs.values()):
            self.supervisor.stop([name])
        self._startup().start_and_wait(name)

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other commands on this stack waiting until the block ends. What was read before it may be outdated in it."""
        self.paths.create()
        return self._locked()

    def reread(self) -> None:
        """Take the stack as the last successful `up` stored it, within `exclusive`: another command may have changed it."""
        self.blueprint = Blueprint.load(self.paths) or self.blueprint

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("  waiting for another command on this stack to end")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
