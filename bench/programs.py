"""The real programs, each in a process of its own with settings of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from common.auth.keys import b64url_encode
from common.testing.http_server import free_port
from common.testing.keys import ServiceKeys

READY_SECONDS = 60.0
STOP_SECONDS = 30.0


@asynccontextmanager
async def accounts_and_gateway(
    database_url: str, amqp_url: str, folder: Path, *, analytics_port: int = 0
) -> AsyncIterator[tuple[str, str, ServiceKeys]]:
    """Run accounts and a gateway before it; gives the addresses of both, and the services' keys.

    The gateway looks for analytics at a port, if one is given.
    """
    keys, port, edge_port = ServiceKeys(), free_port(), free_port()
    address, edge = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{edge_port}"
    shared = {
        "AMQP_URL": amqp_url,
        "SERVICE_PUBLIC_KEYS": json.dumps(keys.public_texts()),
        "ACCOUNTS_URL": address,
        "LOG_LEVEL": "WARNING",
    }
    accounts = {
        **shared,
        "HTTP_PORT": str(port),
        "DATABASE_URL": database_url,
        "SERVICE_PRIVATE_KEY": keys.private_text("accounts"),
        "ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "TIKTOK_CLIENT_KEY": "none",
        "TIKTOK_CLIENT_SECRET": "none",
        "TIKTOK_REDIRECT_URI": f"{edge}/api/v1/tiktok/callback",
    }
    gateway = {
        **shared,
        "HTTP_PORT": str(edge_port),
        "SERVICE_PRIVATE_KEY": keys.private_text("gateway"),
        "OPERATION_KEY": b64url_encode(os.urandom(32)),
        "STORAGE_URL": f"file://{folder}",
        "RATE_LIMIT_PER_USER": "1000000/minute",
        **({"ANALYTICS_URL": f"http://127.0.0.1:{analytics_port}"} if analytics_port else {}),
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_program("accounts", accounts, address))
        await stack.enter_async_context(_program("gateway", gateway, edge))
        yield address, edge, keys


@asynccontextmanager
async def analytics_of(
    database_url: str, amqp_url: str, accounts_url: str, keys: ServiceKeys, port: int
) -> AsyncIterator[str]:
    """Run analytics at a port beside accounts, and give its address."""
    address = f"http://127.0.0.1:{port}"
    settings = {
        "HTTP_PORT": str(port),
        "DATABASE_URL": database_url,
        "AMQP_URL": amqp_url,
        "ACCOUNTS_URL": accounts_url,
        "SERVICE_PRIVATE_KEY": keys.private_text("analytics"),
        "SERVICE_PUBLIC_KEYS": json.dumps(keys.public_texts()),
        "AUDIT_SIGNING_KEY": b64url_encode(os.urandom(32)),
        "TIKTOK_API_URL": "http://127.0.0.1:1",
        "LOG_LEVEL": "WARNING",
    }
    async with _program("analytics", settings, address):
        yield address


@asynccontextmanager
async def gateway_alone(accounts_url: str, amqp_url: str, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Run a gateway before a stand-in for accounts; gives its address and its process id."""
    keys, port = ServiceKeys(), free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "HTTP_PORT": str(port),
        "AMQP_URL": amqp_url,
        "ACCOUNTS_URL": accounts_url,
        "SERVICE_PUBLIC_KEYS": json.dumps(keys.public_texts()),
        "SERVICE_PRIVATE_KEY": keys.private_text("gateway"),
        "OPERATION_KEY": b64url_encode(os.urandom(32)),
        "STORAGE_URL": f"file://{folder}",
        "RATE_LIMIT_PER_USER": "1000000/minute",
        "LOG_LEVEL": "WARNING",
    }
    async with _program("gateway", settings, address) as process:
        yield address, process


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Where the programs behind a due post find things: a database each, one broker, one folder, one accounts."""

    databases: Mapping[str, str]
    amqp_url: str
    accounts_url: str
    folder: Path
    keys: ServiceKeys = field(default_factory=ServiceKeys)

    def settings(self, service: str, port: int) -> dict[str, str]:
        """Return the settings of one of them."""
        return {
            "HTTP_PORT": str(port),
            "DATABASE_URL": self.databases.get(service, ""),
            "AMQP_URL": self.amqp_url,
            "STORAGE_URL": f"file://{self.folder}",
            "ACCOUNTS_URL": self.accounts_url,
            "SERVICE_PRIVATE_KEY": self.keys.private_text(service),
            "SERVICE_PUBLIC_KEYS": json.dumps(self.keys.public_texts()),
            "AUDIT_SIGNING_KEY": b64url_encode(os.urandom(32)),
            "LOG_LEVEL": "WARNING",
        }

    def run(self, service: str, **more: str) -> AbstractAsyncContextManager[int]:
        """Run one of them."""
        port = free_port()
        return _program(service, {**self.settings(service, port), **more}, f"http://127.0.0.1:{port}")


@asynccontextmanager
async def scheduler_and_publisher(pipeline: Pipeline) -> AsyncIterator[dict[str, int]]:
    """Run both and give their process ids; jobs are stored and none is started, and the scheduler never asks about them."""
    async with (
        pipeline.run("publisher", PUBLISH_PAUSED="true") as publisher,
        pipeline.run("scheduler", SWEEP_DUE_SECONDS="86400") as scheduler,
    ):
        yield {"scheduler": scheduler, "publisher": publisher}


@asynccontextmanager
async def gateway_before(pipeline: Pipeline, **more: str) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """Run a scheduler and a gateway before it, without limits of rates; gives the gateway's address and the process ids.

    Both have what is in `more` in their environment.
    """
    edge, inner = free_port(), free_port()
    address, scheduler_url = f"http://127.0.0.1:{edge}", f"http://127.0.0.1:{inner}"
    settings = {
        **pipeline.settings("gateway", edge),
        "SCHEDULER_URL": scheduler_url,
        "OPERATION_KEY": b64url_encode(os.urandom(32)),
        "RATE_LIMIT_PER_USER": "10000000/minute",
    }
    async with (
        _program("scheduler", {**pipeline.settings("scheduler", inner), **more}, scheduler_url) as scheduler,
        _program("gateway", {**settings, **more}, address) as gateway,
    ):
        yield address, {"gateway": gateway, "scheduler": scheduler}


@asynccontextmanager
async def analytics_beside(pipeline: Pipeline) -> AsyncIterator[int]:
    """Run analytics, which receives every event, and give its process id."""
    async with pipeline.run("analytics") as process:
        yield process


@asynccontextmanager
async def _program(module: str, settings: Mapping[str, str], address: str) -> AsyncIterator[int]:
    environment = {"PATH": os.environ.get("PATH", ""), **settings}
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", module, env=environment)
    try:
        await _ready(process, module, address)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()


async def _ready(process: asyncio.subprocess.Process, module: str, address: str) -> None:
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while process.returncode is None:
            try:
                if (await http.get(f"{address}/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # It does not listen yet.
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{module} ended with {process.returncode}")
