"""Programs for tests that start and kill many: each a process of its own that runs `python -m module`, started in milliseconds.

What a program imports takes it one to two seconds of a processor. One process of this module imports it once and forks for each
program, before there is a thread, an event loop or a connection. A program has its own environment, log and end, as if it had been
executed; that `python -m` works is tested where the local stack runs.
"""

import asyncio
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = "ended"
NOBODY_LISTENS = (BrokenPipeError, ConnectionResetError)


@dataclass(eq=False)
class ForkedProgram:
    """A running program, with the part of `asyncio.subprocess.Process` that tests use."""

    pid: int
    _end: "asyncio.Future[int]" = field(repr=False)

    @property
    def returncode(self) -> int | None:
        """How it ended, a signal as a negative number; None while it runs."""
        return self._end.result() if self._end.done() else None

    async def wait(self) -> int:
        """Return how it ended, once it has."""
        return await asyncio.shield(self._end)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if not self._end.done():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end, unless it has."""
        self.send_signal(signal.SIGTERM)


class ForkedPrograms:
    """Starts programs; all that still run are killed with `stop`, or when this process ends in whatever way."""

    def __init__(self) -> None:
        self._server: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._started: asyncio.Queue[ForkedProgram] = asyncio.Queue()

    async def start(self, module: str, environment: Mapping[str, str], log: Path) -> ForkedProgram:
        """Run `python -m module` with this environment and no other; what it prints goes to the end of the log."""
        async with self._starting:
            if self._writer is None:
                await self._connect()
            assert self._writer is not None  # noqa: S101 - made above
            order = {"module": module, "environment": dict(environment), "log": str(log)}
            self._writer.write(json.dumps(order).encode() + b"\n")
            await self._writer.drain()
            return await self._started.get()

    async def stop(self) -> None:
        """Kill what runs, and end."""
        if self._server is None or self._writer is None or self._reading is None:
            return
        self._writer.write_eof()
        await self._reading
        await self._server.wait()
        self._writer.close()

    async def _connect(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-P", "-m", __name__, str(theirs.fileno()))
            self._server = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),))
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        ends: dict[int, asyncio.Future[int]] = {}
        while line := await reader.readline():
            told = json.loads(line)
            if ENDED in told:
                ends.pop(told["pid"]).set_result(told[ENDED])
            else:
                end = ends[told["pid"]] = asyncio.get_running_loop().create_future()
                self._started.put_nowait(ForkedProgram(told["pid"], end))


class _Server:
    """Forks programs as it is told by a socket, and tells of their ends."""

    def __init__(self, told_by: socket.socket) -> None:
        self._socket = told_by
        self._running: set[int] = set()
        # An end of a program makes this readable; what waits for orders wakes up.
        self._ended, self._wake = os.pipe()
        for end in (self._ended, self._wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        # Who interrupts a test run interrupts the programs, too; this process ends after them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> str | None:
        """Serve until nobody listens any more; returns a module's name in a new process that has to run it."""
        try:
            return self._serve()
        except NOBODY_LISTENS:
            self._kill_all()
            return None

    def _serve(self) -> str | None:
        rest = b""
        while True:
            readable, _, _ = select.select([self._socket.fileno(), self._ended], [], [])
            if self._ended in readable:
                os.read(self._ended, 1000)
                self._reap()
            if self._socket.fileno() not in readable:
                continue
            more = self._socket.recv(1_000_000)
            if not more:
                self._kill_all()
                return None
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                module = self._fork(json.loads(line))
                if module is not None:
                    return module

    def _fork(self, order: dict[str, Any]) -> str | None:
        module, environment = order["module"], order["environment"]
        for folder in environment.get("PYTHONPATH", "").split(os.pathsep):
            if folder and folder not in sys.path:
                sys.path.append(folder)
        importlib.import_module(f"{module}.__main__")
        pid = os.fork()
        if pid == 0:
            self._become(environment, order["log"])
            return str(module)
        self._running.add(pid)
        self._tell(pid=pid)
        return None

    def _become(self, environment: dict[str, str], log: str) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for end in (self._ended, self._wake):
            os.close(end)
        self._socket.close()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.close(output)
        os.close(nothing)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # a file's, whatever it was replaced with
        os.environ.clear()
        os.environ.update(environment)

    def _reap(self) -> None:
        for pid in sorted(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._running.discard(pid)
                self._tell(pid=pid, ended=os.waitstatus_to_exitcode(status))

    def _tell(self, **told: int) -> None:
        self._socket.sendall(json.dumps(told).encode() + b"\n")

    def _kill_all(self) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        for pid in self._running:
            _, status = os.waitpid(pid, 0)
            with suppress(*NOBODY_LISTENS):
                self._tell(pid=pid, ended=os.waitstatus_to_exitcode(status))


def _main(descriptor: int) -> None:
    module = _Server(socket.socket(fileno=descriptor)).serve()
    if module is not None:
        sys.argv = [module]
        sys.modules.pop(f"{module}.__main__")
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
