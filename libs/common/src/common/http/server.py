"""Running a service: uvicorn on uvloop, ended gracefully by SIGTERM or SIGINT."""

import asyncio
import gc
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from common.http.capped_protocol import CappedHttpProtocol
from common.settings import ServiceSettings
from common.telemetry.logs import configure_logging
from common.telemetry.metrics import MetricsServer

EXIT_NOT_STARTED = 3
OPEN_FILES = 65_536
LAST_SECONDS = 3.0
"""What tasks that are left over have to end in."""
KEEP_ALIVE_SECONDS = 75
"""Longer than any client of ours keeps a connection, so that none is closed under a request."""
COLLECT_EVERY = 50_000
"""New objects, less those gone, between two looks of the garbage collector (Python's own: 700)."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Uvicorn that ends with status 0 after a graceful stop and tells the app at once that it is stopping."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then let the garbage collector look only at what is made from now on."""
        await super().startup(sockets)
        quiet_collector()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT on the event loop; a second one ends without waiting for requests."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._asked_to_stop, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._app.state.stopping.set()
        log.info("asked_to_stop", signal=number.name)


def _sockets(settings: ServiceSettings) -> list[socket.socket] | None:
    """Return what to listen on besides what uvicorn opens by itself: both ports when one is shared. SystemExit 3 when one is taken.

    The kernel spreads new connections over the processes that listen on a shared port, which have to be one user's.
    """
    if not settings.http_shared_port:
        return None
    opened: list[socket.socket] = []
    for port, shared in ((settings.http_port, False), (settings.http_shared_port, True)):
        listener = socket.socket(socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET)
        # Both: connections that linger would otherwise keep the port for a minute from whoever looks whether it is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((settings.http_host, port))
        except OSError as error:
            log.error("address_not_available", host=settings.http_host, port=port, reason=error.strerror)  # noqa: TRY400 - told whole
            raise SystemExit(EXIT_NOT_STARTED) from None
        opened.append(listener)
    return opened


def quiet_collector() -> None:
    """Keep the garbage collector off what lives as long as the process, and let it look less often at the rest.

    Hundreds of thousands of objects of modules, models and routes would be walked through again and again, for 50 ms and more at a
    time; batches of messages make many objects that live briefly and hold no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])


async def serve(app: FastAPI, settings: ServiceSettings) -> None:
    """Serve until asked to stop.

    The grace time is split: requests under way get up to half of SHUTDOWN_GRACE_SECONDS to finish, then the components get the
    other half. SystemExit 3 when a component failed to start or the address is taken.
    """
    half = settings.shutdown_grace_seconds / 2
    app.state.component_stop_seconds = half
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        loop="none",
        http=CappedHttpProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(half)),
    )
    metrics = MetricsServer(settings.metrics_port, host=settings.http_host)
    await metrics.start()
    try:
        await _Server(config, app).serve(sockets=_sockets(settings))
    finally:
        await metrics.stop()


def run(build: Callable[[], tuple[FastAPI, ServiceSettings]]) -> None:
    """Run a service: `build` reads the settings, wires everything and returns the app; it is called inside the event loop.

    The process ends within LAST_SECONDS of the service's end, so that whoever watches it can start it again.
    """

    async def main() -> None:
        app, settings = build()
        _allow_many_connections()
        configure_logging(settings.service, settings.log_level, settings.log_format, instance=settings.instance)
        status: int | str | None = 1
        try:
            await serve(app, settings)
            status = 0
        except SystemExit as error:
            status = error.code
            raise
        finally:
            _end_soon(status if isinstance(status, int) else 1)

    uvloop.run(main())


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us: each connection is one, and 1,024 is a common beginning."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_soon(status: int) -> None:
    """End the process even if a task that is left over never does: a connection that reconnects whoever cancels it, say."""

    def end() -> None:
        log.error("ended_by_force", status=status)
        os._exit(status)

    timer = threading.Timer(LAST_SECONDS, end)
    timer.daemon = True
    timer.start()
