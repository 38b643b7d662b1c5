"""uvicorn, set up so that connections can be broken on purpose."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from tiktok_simulator.connection import AbortableProtocol
from tiktok_simulator.settings import Settings

_KEEP_ALIVE_SECONDS = 75
_STOP_SECONDS = 3
_BACKLOG = 2048
_RECEIVE_BUFFER = 256 * 1024


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


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket; port 0 takes a free one.

    Its receive buffer is kept small, so that a body that is not being read stops its sender soon.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol has to be named: asyncio switches Nagle's delay off only where it reads TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class EmbeddedServer(uvicorn.Server):
    """A server inside another program: it leaves the signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield
