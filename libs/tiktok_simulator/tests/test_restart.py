import asyncio
import hashlib
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.journal import Journal
from tiktok_simulator.media_host import MediaHost, Resource
from tiktok_simulator.sample_photo import make_photo
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator

MB = 1_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@asynccontextmanager
async def process(port: int, state_file: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a simulator in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SIMULATOR_")},
        "SIMULATOR_PORT": str(port),
        "SIMULATOR_STATE_FILE": str(state_file),
        **{f"SIMULATOR_{name.upper()}": value for name, value in settings.items()},
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tiktok_simulator", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await healthy(port, child)
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def healthy(port: int, child: asyncio.subprocess.Process) -> None:
    async with httpx.AsyncClient() as http:

        async def answers() -> bool:
            assert child.returncode is None
            try:
                return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers, 60)


async def test_all_survives_a_kill_in_the_middle_of_a_chunk(http: httpx.AsyncClient, tmp_path: Path) -> None:
    port, state_file, size = free_port(), tmp_path / "state.sqlite", 66 * MB
    data = os.urandom(size)
    driver = Driver(http, f"http://127.0.0.1:{port}")
    async with process(port, state_file) as child:
        creator = {"username": "kept", "persona": "public", "follower_count": 5}
        await http.post(f"{driver.base_url}/_simulator/creators", json=creator)
        tokens = await driver.connect("kept")
        tokens = (await driver.refresh(old := tokens["refresh_token"])).json()
        started = (await driver.init(tokens["access_token"], size, "kept title")).json()["data"]
        for first in (0, 10 * MB):
            await driver.put(started["upload_url"], first, size, data[first : first + 10 * MB])
        await driver.fault("upload", delay=60)
        third = asyncio.create_task(driver.put(started["upload_url"], 20 * MB, size, data[20 * MB : 30 * MB]))

        async def arriving() -> bool:
            return bool((await driver.ledger())[0]["receiving"])

        await eventually(arriving)
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        with pytest.raises(httpx.TransportError):
            await third
    async with process(port, state_file, check_media="false", processing_seconds="0"):
        status = (await driver.status(tokens["access_token"], started["publish_id"])).json()["data"]
        assert status == {"status": "PROCESSING_UPLOAD", "uploaded_bytes": 20 * MB}
        for index in range(2, 6):
            first, end = index * 10 * MB, (index + 1) * 10 * MB if index < 5 else size
            answer = await driver.put(started["upload_url"], first, size, data[first:end])
        assert answer.status_code == 201
        item = await driver.finished(started["publish_id"])
        assert item["sha256"] == hashlib.sha256(data).hexdigest()
        assert (item["status"], item["title"], item["inits"]) == ("PUBLISH_COMPLETE", "kept title", 1)
        assert (await driver.refresh(old)).json()["error"] == "invalid_grant"
        assert "access_token" in (await driver.refresh(tokens["refresh_token"])).json()
        creators = (await http.get(f"{driver.base_url}/_simulator/creators")).json()["items"]
        (kept,) = [item for item in creators if item["username"] == "kept"]
        assert (kept["follower_count"], kept["video_count"], kept["connected"]) == (5, 1, True)


async def test_processing_goes_on_after_a_kill(http: httpx.AsyncClient, tmp_path: Path, video: bytes) -> None:
    port, state_file = free_port(), tmp_path / "state.sqlite"
    driver = Driver(http, f"http://127.0.0.1:{port}")
    async with process(port, state_file, processing_seconds="600") as child:
        token = (await driver.connect())["access_token"]
        await driver.fault("processing", fail_reason="internal", skip=1)
        good, bad = [await driver.upload(token, video, title) for title in ("good", "bad")]
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
    async with process(port, state_file, processing_seconds="0"):
        assert (await driver.finished(good))["status"] == "PUBLISH_COMPLETE"
        assert (await driver.finished(bad))["fail_reason"] == "internal"
        assert [item["publish_id"] for item in await driver.ledger()] == [good, bad]
    async with process(port, state_file) as child:
        assert len(await driver.ledger()) == 2
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 60) in {0, -signal.SIGTERM}


async def test_new_modes_survive_a_kill(http: httpx.AsyncClient, tmp_path: Path, video: bytes, host: MediaHost) -> None:
    port, state_file = free_port(), tmp_path / "state.sqlite"
    driver = Driver(http, f"http://127.0.0.1:{port}")
    settings = {"pull_loopback": "true", "processing_seconds": "0"}
    halting = Resource(video, stop_after=1000)
    pictures = [make_photo(seed=number) for number in range(2)]
    async with process(port, state_file, **settings) as child:
        token = (await driver.connect())["access_token"]
        pulled = (await driver.pull(token, host.put("/a", halting), "pulled")).json()["data"]["publish_id"]
        photos = await driver.photos(token, [host.put(f"/{number}", data) for number, data in enumerate(pictures)])
        await driver.finished(photo := photos.json()["data"]["publish_id"])
        draft = (await driver.draft(token, host.put("/b", video))).json()["data"]["publish_id"]
        await driver.finished(draft)
        await driver.admin("POST", f"drafts/{draft}/publish", {"title": "posted"})
        await driver.fault("download", stuck=True)
        stuck = (await driver.pull(token, host.put("/c", video))).json()["data"]["publish_id"]
        await driver.advance(1000)
        before = await driver.ledger()
        assert before[0]["bytes"] == 1000
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
    halting.stop_after = None
    async with process(port, state_file, **settings):
        item = await driver.finished(pulled)
        assert (item["status"], item["sha256"]) == ("PUBLISH_COMPLETE", hashlib.sha256(video).hexdigest())
        after = await driver.ledger()
        assert [item["publish_id"] for item in after] == [pulled, photo, draft, stuck]
        assert after[1:] == before[1:]
        assert (await driver.admin("GET", "clock"))["ahead"] == 1000
        data = (await driver.status(token, draft)).json()["data"]
        assert data["publicaly_available_post_id"] == [int(after[2]["post_id"])]
        assert host.requested.count("/c") == 0
        assert (await driver.draft(token, 1000)).status_code == 200


async def test_a_ledger_of_before_there_were_drafts(http: httpx.AsyncClient, tmp_path: Path) -> None:
    state_file = tmp_path / "state.sqlite"
    row = {
        "publish_id": "v_pub_file~v2-1.7",
        "open_id": "-0001",
        "username": "demo_public",
        "title": "old",
        "status": "PUBLISH_COMPLETE",
        "privacy_level": "PUBLIC_TO_EVERYONE",
        "post_id": "7000000000000000001",
        "created_at": 1.0,
        "uploaded_at": 2.0,
        "published_at": 3.0,
        "public_at": 4.0,
        "public_told": True,
    }
    journal = Journal(state_file)
    journal.put("publications", "v_pub_file~v2-1.7", json.dumps(row))
    journal.close()
    async with running_simulator(Settings(port=0, state_file=state_file)) as simulator:
        (item,) = await Driver(http, simulator.base_url).ledger()
        assert (item["post_id"], item["published_at"], item["mode"]) == (row["post_id"], "1970-01-01T00:00:03.000Z", "direct")
        assert simulator.state.ledger.of_post("7000000000000000001") is not None


async def test_memory_only_forgets(http: httpx.AsyncClient) -> None:
    port = free_port()
    for _ in range(2):
        async with running_simulator(Settings(port=port)) as simulator:
            driver = Driver(http, simulator.base_url)
            assert await driver.ledger() == []
            await driver.init((await driver.connect())["access_token"], 1000)


async def test_reset_is_kept_too(http: httpx.AsyncClient, tmp_path: Path) -> None:
    settings = Settings(port=0, state_file=tmp_path / "state.sqlite", upload_folder=tmp_path / "bytes")
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        data = (await driver.init(token, 66 * MB)).json()["data"]
        await driver.put(data["upload_url"], 0, 66 * MB, bytes(10 * MB))
        assert len(list((tmp_path / "bytes").iterdir())) == 1
        await http.post(f"{driver.base_url}/_simulator/reset")
        assert await driver.ledger() == []
        assert list((tmp_path / "bytes").iterdir()) == []
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        assert await driver.ledger() == []
        assert (await driver.status(token, data["publish_id"])).status_code == 401


def test_two_simulators_do_not_share_a_file(tmp_path: Path) -> None:
    first = Journal(tmp_path / "state.sqlite")
    first.put("t", "k", "{}")
    with pytest.raises(sqlite3.OperationalError):
        Journal(tmp_path / "state.sqlite", patience=0.05)
    first.close()
    second = Journal(tmp_path / "state.sqlite")
    assert second.load("t") == [("k", "{}")]
    second.close()
