import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.media_host import MediaHost, media_host
from tiktok_simulator.sample_video import make_video
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator


@pytest.fixture(scope="session")
async def shared() -> AsyncIterator[RunningSimulator]:
    settings = Settings(
        port=0,
        processing_seconds=0.0,
        init_per_minute=1000,
        pull_loopback=True,
        verified_domains=("media.test",),
        verified_prefixes=("https://cdn.test/ours/",),
    )
    async with running_simulator(settings) as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    # No trust store is loaded: that takes longer than most of these tests.
    async with httpx.AsyncClient(timeout=20, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as client:
        yield client


@pytest.fixture
async def driver(shared: RunningSimulator, http: httpx.AsyncClient) -> Driver:
    """Return a driver of a simulator that has just been reset."""
    await shared.state.reset()
    return Driver(http, shared.base_url)


@pytest.fixture
async def host() -> AsyncIterator[MediaHost]:
    """Serve media that the simulator can fetch."""
    async with media_host() as serving:
        yield serving


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a valid mp4 of a few kilobytes."""
    path: Path = tmp_path_factory.mktemp("video") / "video.mp4"
    return make_video(path, seconds=1).read_bytes()
