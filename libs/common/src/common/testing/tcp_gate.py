"""A gate in front of a real server: connections through it can be made to hang, or be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from yarl import URL


class TcpGate:
    """Passes bytes on while `open` is set; while it is cleared they wait on their way, as at a server that hangs.

    While `answering` is cleared only the server's bytes wait: it hears and acts, and nobody learns of it.
    """

    def __init__(self, target: URL) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.open = asyncio.Event()
        self.open.set()
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusing = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        if self.refusing:
            writer.close()
            return
        there, away = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers |= {writer, away}
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pass_on(reader, away), self._pass_on(there, writer, self.answering))
        self._writers -= {writer, away}

    def cut(self) -> None:
        """Break all connections and refuse new ones until `mend`."""
        self.refusing = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Take connections again, and let bytes pass."""
        self.refusing = False
        self.open.set()
        self.answering.set()

    async def _pass_on(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, also: asyncio.Event | None = None
    ) -> None:
        try:
            while data := await source.read(65536):
                await self.open.wait()
                if also is not None:
                    await also.wait()
                to.write(data)
                await to.drain()
        finally:
            to.close()


@asynccontextmanager
async def tcp_gate(url: str) -> AsyncIterator[tuple[TcpGate, str]]:
    """Open a gate in front of the server at `url`; gives the gate and the address that leads through it."""
    target = URL(url)
    gate = TcpGate(target)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    try:
        yield gate, str(target.with_host("127.0.0.1").with_port(server.sockets[0].getsockname()[1]))
    finally:
        gate.mend()
        server.close()
