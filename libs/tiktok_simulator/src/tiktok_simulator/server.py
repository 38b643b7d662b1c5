"""uvicorn, set up so that connections can be broken on purpose."""

import contextlib
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from tiktok_simulator.connection import AbortableProtocol
from tiktok_simulator.settings import Settings

_KEEP_ALIVE_SECONDS = 75
_STOP_SECONDS = 3


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return the server's configuration."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=AbortableProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


class EmbeddedServer(uvicorn.Server):
    """A server inside another program: it leaves the signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield
