import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.http.server import COLLECT_EVERY, OPEN_FILES
from common.testing.eventually import eventually
from common.testing.http_server import free_port
from common.testing.keys import ServiceKeys

SERVICE = """
import asyncio
import gc
import os
import resource
from typing import ClassVar
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from common.http.app import create_app
from common.http.server import run
from common.settings import ServiceSettings, load

class Settings(ServiceSettings):
    SERVICE: ClassVar[str] = "probe"
    http_port: int = 0
    failing: bool = False
    stubborn: bool = False

async def never_end():
    print("never ends", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

class Part:
    def __init__(self, failing, stubborn):
        self.failing, self.stubborn = failing, stubborn
    async def start(self):
        if self.stubborn:
            self.task = asyncio.create_task(never_end())
            await asyncio.sleep(0)
        if self.failing:
            raise RuntimeError("no start")
        print("part started", flush=True)
    async def stop(self):
        print("part stopped", flush=True)

router = APIRouter()

@router.get("/slow")
async def slow(seconds: float):
    print("slow began", flush=True)
    await asyncio.sleep(seconds)
    return {"done": True}

@router.get("/pid")
async def pid():
    return {"pid": os.getpid()}

@router.get("/endless")
async def endless():
    async def parts():
        while True:
            yield b"x"
            await asyncio.sleep(0.05)
    return StreamingResponse(parts())

@router.get("/files")
async def files():
    return {"limits": resource.getrlimit(resource.RLIMIT_NOFILE)}

@router.get("/collector")
async def collector():
    return {"frozen": gc.get_freeze_count(), "every": gc.get_threshold()[0]}

def build():
    settings = load(Settings)
    part = Part(settings.failing, settings.stubborn)
    app = create_app(service="probe", title="Probe", version="1", components=[part], routers=[router])
    return app, settings

run(build)
"""


class Process:
    def __init__(self, process: asyncio.subprocess.Process, url: str, metrics_url: str) -> None:
        self.process = process
        self.url = url
        self.metrics_url = metrics_url
        self.output = b""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            await self._reading
            return await self.process.wait()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines() if line.startswith(b"{")]


@asynccontextmanager
async def service(folder: Path, keys: ServiceKeys, **settings: str) -> AsyncIterator[Process]:
    script = folder / "probe.py"
    script.write_text(SERVICE)
    port, metrics_port = free_port(), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "AMQP_URL": "amqp://guest:guest@127.0.0.1/",
        "HTTP_PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "SERVICE_PRIVATE_KEY": keys.private_text("gateway"),
        "SERVICE_PUBLIC_KEYS": json.dumps(keys.public_texts()),
        **{name: os.environ[name] for name in os.environ if name.startswith("COV")},
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Process(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}")
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()


async def ready(running: Process) -> bool:
    assert running.process.returncode is None, running.output
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(running.url + "/readyz")).status_code == 200
        except httpx.TransportError:
            return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_request_under_way_is_finished(tmp_path: Path, service_keys: ServiceKeys, number: int) -> None:
    async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        slow = asyncio.create_task(client.get(running.url + "/slow?seconds=0.5", timeout=60))
        await eventually(lambda: b"slow began" in running.output)
        running.process.send_signal(number)
        assert (await slow).json() == {"done": True}
        assert await running.ended() == 0
    assert running.output.index(b'"path":"/slow"') < running.output.index(b"part stopped")


async def test_what_does_not_finish_in_time_is_cut(tmp_path: Path, service_keys: ServiceKeys) -> None:
    """The answer never ends by itself; how long it is waited for is what the setting says."""
    async with service(tmp_path, service_keys, SHUTDOWN_GRACE_SECONDS="2") as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        async with client.stream("GET", running.url + "/endless") as response:
            assert response.status_code == 200
            running.process.send_signal(signal.SIGTERM)
            assert await running.ended() == 0
    assert b"part stopped" in running.output


async def test_a_second_signal_does_not_wait(tmp_path: Path, service_keys: ServiceKeys) -> None:
    async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        slow = asyncio.create_task(client.get(running.url + "/slow?seconds=300", timeout=60))
        await eventually(lambda: b"slow began" in running.output)
        running.process.send_signal(signal.SIGTERM)
        await eventually(lambda: b"asked_to_stop" in running.output)
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
        (answer,) = await asyncio.gather(slow, return_exceptions=True)
        assert not isinstance(answer, httpx.Response) or answer.status_code == 500
    assert b"part stopped" in running.output


@pytest.mark.parametrize(("failing", "status"), [("true", 3), ("false", 0)])
async def test_a_task_that_cannot_be_cancelled_keeps_no_process(
    tmp_path: Path, service_keys: ServiceKeys, failing: str, status: int
) -> None:
    async with service(tmp_path, service_keys, STUBBORN="true", FAILING=failing) as running:
        if failing == "false":
            await eventually(lambda: ready(running))
            running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == status
    assert b"never ends" in running.output
    assert b"ended_by_force" in running.output


async def test_logs_and_metrics(tmp_path: Path, service_keys: ServiceKeys) -> None:
    async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        await client.get(running.url + "/nothing", headers={"X-Request-ID": "r1"})
        metrics = (await client.get(running.metrics_url + "/metrics")).text
        assert 'cuepost_http_request_seconds_count{method="GET",route="none",status="404"} 1.0' in metrics
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
    entry = next(entry for entry in running.entries() if entry.get("correlation_id") == "r1")
    assert (entry["event"], entry["service"], entry["path"], entry["status"]) == ("request", "probe", "/nothing", 404)
    assert entry["instance"].startswith("probe-")


async def test_the_garbage_collector_leaves_what_lives_as_long_as_the_process(
    tmp_path: Path, service_keys: ServiceKeys
) -> None:
    async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        told = (await client.get(running.url + "/collector")).json()
        assert told["frozen"] > 10_000
        assert told["every"] == COLLECT_EVERY


async def test_a_failed_start_ends_the_process(tmp_path: Path, service_keys: ServiceKeys) -> None:
    async with service(tmp_path, service_keys, FAILING="true") as running:
        assert await running.ended() == 3
    assert b"no start" in running.output


async def test_bad_settings_end_the_process_with_their_name(tmp_path: Path, service_keys: ServiceKeys) -> None:
    async with service(tmp_path, service_keys, AMQP_URL="canary") as running:
        assert await running.ended() == 2
    assert b"AMQP_URL: must begin with amqp://" in running.output
    assert b"canary" not in running.output


async def test_a_taken_port_ends_the_process(tmp_path: Path, service_keys: ServiceKeys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with service(tmp_path, service_keys, HTTP_PORT=str(taken.getsockname()[1])) as running:
            assert await running.ended() == 3
    assert b"part stopped" in running.output


async def test_an_endless_head_is_refused_and_stops_nobody_else(tmp_path: Path, service_keys: ServiceKeys) -> None:
    async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        host, port = running.url.removeprefix("http://").split(":")
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(20):
                writer.write(b"a" * 4096)
                await writer.drain()
            answer = await reader.read()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b'"code":"header_too_large"' in answer
        assert (await client.get(running.url + "/healthz")).status_code == 200


async def answering(port: str) -> set[int]:
    """Return the pids of those who answer on a port, each asked over a connection of its own."""
    found: set[int] = set()
    for _ in range(40):
        async with httpx.AsyncClient() as client:
            found.add((await client.get(f"http://127.0.0.1:{port}/pid")).json()["pid"])
    return found


async def test_replicas_share_a_port_and_each_has_its_own(tmp_path: Path, service_keys: ServiceKeys) -> None:
    shared = str(free_port())
    async with AsyncExitStack() as stack:
        replicas = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            replicas.append(await stack.enter_async_context(service(tmp_path / name, service_keys, HTTP_SHARED_PORT=shared)))
        one, two = replicas
        await eventually(lambda: ready(one))
        await eventually(lambda: ready(two))
        assert await answering(shared) == {one.process.pid, two.process.pid}
        for replica in replicas:
            assert await answering(replica.url.rpartition(":")[2]) == {replica.process.pid}
        one.process.kill()
        await one.ended()
        assert await answering(shared) == {two.process.pid}, "whoever dies is asked no more"


async def test_a_shared_port_is_free_at_once_when_its_replicas_have_ended(tmp_path: Path, service_keys: ServiceKeys) -> None:
    """Also with connections that the server closed first: they linger for a minute."""
    shared = free_port()
    async with service(tmp_path, service_keys, HTTP_SHARED_PORT=str(shared)) as running, httpx.AsyncClient() as client:
        await eventually(lambda: ready(running))
        await client.get(f"http://127.0.0.1:{shared}/pid")
        running.process.terminate()
        assert await running.ended() == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", shared))


async def test_a_port_that_others_hold_is_told(tmp_path: Path, service_keys: ServiceKeys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with service(tmp_path, service_keys, HTTP_SHARED_PORT=port) as running:
            assert await running.ended() == 3
        told = [entry for entry in running.entries() if entry["event"] == "address_not_available"]
        assert [entry["port"] for entry in told] == [int(port)]


async def test_as_many_files_as_the_system_allows(tmp_path: Path, service_keys: ServiceKeys) -> None:
    """The limit that it begins with is far below what one gateway's streams need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with service(tmp_path, service_keys) as running, httpx.AsyncClient() as client:
            await eventually(lambda: ready(running))
            assert (await client.get(running.url + "/files")).json()["limits"] == [min(OPEN_FILES, hard), hard]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
