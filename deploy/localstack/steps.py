"""What the operator sees while the stack starts: one line per step, with its seconds."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localstack.errors import NotReadyError, StackError
from localstack.supervision import Supervisor

Say = Callable[[str], None]
POLL_SECONDS = 0.05
TIRED_OF_RESTARTS = 4


def silent(_line: str) -> None:
    """Say nothing (tests)."""


class Steps:
    """Prints the steps of one command; safe to use from several threads."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @contextmanager
    def step(self, what: str, done: str) -> Iterator[None]:
        """Time a step and print its line when it has ended well."""
        began = time.monotonic()
        yield
        self.line(f"  {what:<28} {done:<26} {time.monotonic() - began:5.1f} s")

    def line(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            self._say(text)

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began


def wait_for(supervisor: Supervisor, name: str, ready: Callable[[], bool], seconds: float, log: Path) -> None:
    """Wait until `ready`.

    Raises NotReadyError after `seconds`, StackError when the program keeps ending; both with the end of the log.
    """
    deadline = time.monotonic() + seconds
    pids: set[int] = set()
    while not ready():
        state = supervisor.states().get(name)
        pids.add(state.pid if state else 0)
        if len(pids - {0}) >= TIRED_OF_RESTARTS:
            raise StackError(f"{name} keeps ending; the end of its log ({log}):\n{tail(log)}")
        if time.monotonic() > deadline:
            raise NotReadyError(f"{name} is not ready after {seconds:.0f} s; the end of its log ({log}):\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines)).rstrip()
    except FileNotFoundError:
        return "(no log yet)"
