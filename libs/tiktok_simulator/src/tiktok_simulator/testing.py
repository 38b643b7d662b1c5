"""For tests: a simulator inside the test's own process, on a port of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from tiktok_simulator.app import create_app
from tiktok_simulator.server import EmbeddedServer, listen, server_config
from tiktok_simulator.settings import Settings
from tiktok_simulator.state import Simulator

_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """A simulator that answers at ``base_url``; ``state`` is its inside."""

    base_url: str
    app: FastAPI
    state: Simulator


@asynccontextmanager
async def running_simulator(settings: Settings | None = None) -> AsyncIterator[RunningSimulator]:
    """Serve a simulator on the running loop until the block ends; port 0 takes a free one.

    Raises RuntimeError when it does not come up.
    """
    chosen = settings if settings is not None else Settings(port=0)
    app = create_app(chosen)
    listener = listen(chosen)
    server = EmbeddedServer(server_config(app, chosen))
    serving = asyncio.create_task(_serve(server, listener))
    try:
        await _started(server, serving)
        host, port = listener.getsockname()[:2]
        yield RunningSimulator(f"http://{host}:{port}", app, app.state.simulator)
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def _serve(server: EmbeddedServer, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit as stop:
        raise RuntimeError("the simulator did not start") from stop


async def _started(server: EmbeddedServer, serving: asyncio.Task[None]) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while not server.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(0.01)
