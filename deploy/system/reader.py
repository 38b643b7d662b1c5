"""A client that goes on reading while servers die, and notes what it is answered."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self

import httpx


class Reader:
    """Asks for each path in turn from a thread of its own; `answers` counts (path, status)."""

    def __init__(self, ask: Callable[[str], httpx.Response], paths: Iterable[str]) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._ask = ask
        self._paths = tuple(paths)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=60)

    @property
    def statuses(self) -> set[int]:
        """Every status that was answered."""
        return {status for _, status in self.answers}

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            for path in self._paths:
                try:
                    self.answers[path, self._ask(path).status_code] += 1
                except httpx.TransportError:
                    self.answers[path, 0] += 1
