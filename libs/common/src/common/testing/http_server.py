"""A real HTTP server inside the test process, on a free port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI

from common.http.server import KEEP_ALIVE_SECONDS
from common.testing.eventually import eventually
from common.testing.keys import UserKeys


class _Server(uvicorn.Server):
    """Uvicorn that leaves the signals of the test process alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_port() -> int:
    """Return a TCP port that was free a moment ago (for processes that must be told their port)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(app: Any, *, port: int = 0, http: type[asyncio.Protocol] | Literal["auto"] = "auto") -> AsyncIterator[str]:
    """Serve an ASGI app on 127.0.0.1 (its lifespan included) and give the base URL; stopped when the block ends.

    `http` is the server's protocol: uvicorn's own, or the one that services run.
    """
    # The protocol is named, else asyncio does not set TCP_NODELAY on accepted connections.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        http=http,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started or task.done())
        if task.done():
            await task
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


def jwks_app(keys: UserKeys) -> FastAPI:
    """Return an app that publishes a key set where accounts does; `app.state.requests` counts the fetches."""
    app = FastAPI(openapi_url=None)
    app.state.requests = 0

    @app.get("/.well-known/jwks.json")
    async def jwks() -> dict[str, Any]:
        app.state.requests += 1
        return keys.jwks()

    return app
