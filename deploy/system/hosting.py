"""A web server that files are fetched from, in the background of a test that is not asynchronous itself."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.testing.file_host import Act, FileHost, file_host


class Hosting:
    """Serves what a script says; its acts go on at a word."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._host: FileHost | None = None
        self._ready = threading.Event()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def host(self) -> FileHost:
        """The server; what it was asked may be read at any time."""
        if self._host is None:
            raise RuntimeError("not serving")
        return self._host

    def go_on(self, act: Act) -> None:
        """Let an act that has stopped go on."""
        self._loop.call_soon_threadsafe(act.go_on.set)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        if not self._ready.wait(15):
            raise RuntimeError("the server did not start")

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(15)

    async def _serve(self) -> None:
        async with file_host() as self._host:
            self._ready.set()
            await self._done.wait()


@contextmanager
def hosting() -> Iterator[Hosting]:
    """Serve on a port of 127.0.0.1 until the block ends."""
    server = Hosting()
    server.start()
    try:
        yield server
    finally:
        server.stop()
