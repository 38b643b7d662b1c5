"""Prometheus metrics on a port of their own, so that the public port never shows them."""

import asyncio
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Histogram, start_http_server

HTTP_SECONDS = Histogram(
    "cuepost_http_request_seconds",
    "Seconds from a request's head to the end of its answer.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


class MetricsServer:
    """Component that serves `/metrics` of a registry on `host:port`; port 0 means off."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", registry: CollectorRegistry = REGISTRY) -> None:
        self._port = port
        self._host = host
        self._registry = registry
        self._running: tuple[WSGIServer, Thread] | None = None

    async def start(self) -> None:
        """Begin to listen; OSError when the port is taken."""
        if self._port:
            self._running = await asyncio.to_thread(start_http_server, self._port, self._host, self._registry)

    async def stop(self) -> None:
        """Stop listening and wait for the thread to end."""
        if self._running is None:
            return
        server, thread = self._running
        self._running = None
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join, 5.0)
