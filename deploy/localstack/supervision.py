"""The process manager: supervisor, with one program per process, steered over its private unix socket.

Supervisor (not honcho, which neither restarts nor scales, nor circus, which needs a message bus of its own): it restarts
what dies, adds and removes single programs while the others run, and is steered by plain calls.

Every program is a group of its own, so that adding or removing a replica never touches another one. Programs start by
our word only (`autostart=false`): the order is ours. Once started they are restarted whenever they end, without limit.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localstack.errors import StackError
from localstack.identity import Record, birth, end, read_record
from localstack.launch import Spec, read_spec
from localstack.paths import Paths, write_private
from localstack.supervisor_config import SOCKET, STOP_SECONDS, STOP_SECONDS_SERVICE, configuration

RPC_SECONDS = 60.0


@dataclass(frozen=True)
class ProcessState:
    """What supervisor says of a program."""

    name: str
    state: str
    pid: int
    started_at: float

    @property
    def running(self) -> bool:
        """Whether the process exists."""
        return self.state == "RUNNING"


class _Connection(http.client.HTTPConnection):
    def __init__(self, folder: Path) -> None:
        super().__init__("localhost", timeout=RPC_SECONDS)
        self._folder = folder

    def connect(self) -> None:
        """Connect by a short name: the path of a socket is limited to about 100 bytes, that of a checkout is not."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if not Path("/proc/self/fd").exists():
            self.sock.connect(str(self._folder / SOCKET))
            return
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{descriptor}/{SOCKET}")
        finally:
            os.close(descriptor)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002 - the base class calls it
        """Open a connection to the socket in the folder, whatever the host."""
        return _Connection(self._folder)


class Supervisor:
    """One supervisord: its configuration, its life and its programs."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._record = "supervisord"

    @property
    def _rpc(self) -> Any:
        server = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(self._paths.run))
        return server.supervisor

    def alive(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def record(self) -> Record | None:
        """Return the daemon's own record."""
        return read_record(self._paths.run, self._record)

    def start(self, specs: Iterable[Spec]) -> None:
        """Start supervisord with these programs known and none running."""
        self.configure(specs)
        configuration = self._paths.run / "supervisord.conf"
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            cwd=self._paths.run,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RPC_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"supervisord could not be started:\n{(done.stdout + done.stderr).strip()}")
        deadline = time.monotonic() + RPC_SECONDS
        while not self.alive():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; see {self._paths.log / 'supervisord.log'}")
            time.sleep(0.02)
        pid = self._rpc.getPID()
        Record(self._record, pid, birth(pid) or "", time.time()).write(self._paths.run)

    def configure(self, specs: Iterable[Spec]) -> None:
        """Write the configuration and the private specs."""
        specs = list(specs)
        known = {spec.name for spec in specs}
        for path in self._paths.programs.glob("*.json"):
            if path.stem not in known:
                path.unlink()
        write_private(self._paths.run / "supervisord.conf", configuration(self._paths, specs))

    def known_spec(self, name: str) -> Spec:
        """Return the spec a program was configured with last."""
        return read_spec(self._paths.programs / f"{name}.json")

    def knows(self, name: str) -> bool:
        """Whether a program was configured."""
        return (self._paths.programs / f"{name}.json").exists()

    def update(self, specs: Iterable[Spec]) -> list[str]:
        """Make the running supervisord know exactly these programs; returns the names that are new or changed.

        Removed and changed ones are stopped; the others are not touched.
        """
        self.configure(specs)
        added, changed, removed = self._rpc.reloadConfig()[0]
        self.stop([*changed, *removed])
        for name in [*changed, *removed]:
            self._rpc.removeProcessGroup(name)
        for name in [*changed, *added]:
            self._rpc.addProcessGroup(name)
        return [*changed, *added]

    def states(self) -> dict[str, ProcessState]:
        """Every known program, by name."""
        return {
            info["name"]: ProcessState(info["name"], info["statename"], int(info["pid"]), float(info["start"]))
            for info in self._rpc.getAllProcessInfo()
        }

    def start_program(self, name: str) -> None:
        """Start a program; one that runs already is left alone. Its earlier failures are forgotten."""
        self._forget_failures(name)
        try:
            self._rpc.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} could not be started: {fault.faultString}") from fault

    def _forget_failures(self, name: str) -> None:
        record = read_record(self._paths.run, name)
        if record is not None and record.short_lives:
            replace(record, short_lives=0).write(self._paths.run)

    def stop(self, names: Iterable[str]) -> None:
        """Stop programs together and wait until they have ended; those not running are fine."""
        waiting = set(names)
        for name in sorted(waiting):
            try:
                self._rpc.stopProcess(name, False)
            except xmlrpc.client.Fault as fault:
                if "NOT_RUNNING" not in fault.faultString and "BAD_NAME" not in fault.faultString:
                    raise StackError(f"{name} could not be stopped: {fault.faultString}") from fault
        deadline = time.monotonic() + max(*STOP_SECONDS.values(), STOP_SECONDS_SERVICE) + 10
        while any(state.pid for name, state in self.states().items() if name in waiting):
            if time.monotonic() > deadline:
                raise StackError(f"did not stop in time: {', '.join(sorted(waiting))}")
            time.sleep(0.05)

    def shutdown(self) -> None:
        """End supervisord; whatever still runs is stopped by it, services first."""
        record = self.record()
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
            # Supervisord takes a second for each group it knows, also for those that have ended.
            for state in self.states().values():
                if not state.pid:
                    self._rpc.removeProcessGroup(state.name)
            self._rpc.shutdown()
        if record is not None:
            end([record], signal.SIGTERM, 90)
        (self._paths.run / f"{self._record}.json").unlink(missing_ok=True)
