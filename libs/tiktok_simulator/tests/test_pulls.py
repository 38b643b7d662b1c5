"""Videos that TikTok fetches itself: real bytes from a real host, and what comes of a host that misbehaves."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.fetching import Fetcher, FetchFailed
from tiktok_simulator.media_host import MediaHost, Resource
from tiktok_simulator.sample_video import make_video
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator


async def pulled(driver: Driver, url: str, **changes: Any) -> tuple[str, str]:
    token = (await driver.connect())["access_token"]
    answer = await driver.pull(token, url, **changes)
    return token, answer.json()["data"]["publish_id"]


async def data_of(driver: Driver, token: str, publish_id: str) -> dict[str, Any]:
    data: dict[str, Any] = (await driver.status(token, publish_id)).json()["data"]
    return data


async def test_a_video_is_fetched_and_published(driver: Driver, host: MediaHost, video: bytes) -> None:
    url = host.put("/a.mp4?signature=secret", video)
    token, publish_id = await pulled(driver, url, title="pulled", privacy_level="PUBLIC_TO_EVERYONE")
    assert publish_id.startswith("v_pub_url~v2-1.")
    item = await driver.finished(publish_id)
    assert (item["status"], item["mode"], item["source"], item["title"]) == (
        "PUBLISH_COMPLETE",
        "direct",
        "PULL_FROM_URL",
        "pulled",
    )
    assert (item["bytes"], item["sha256"]) == (len(video), hashlib.sha256(video).hexdigest())
    assert item["urls"] == [url.partition("?")[0]]
    assert item["inits"] == 1
    assert item["uploaded_at"] is not None
    assert host.requested == ["/a.mp4?signature=secret"]
    data = await data_of(driver, token, publish_id)
    assert data["publicaly_available_post_id"] == [int(item["post_id"])]
    assert data["downloaded_bytes"] == len(video)
    assert "uploaded_bytes" not in data


async def test_megabytes_are_what_they_were(driver: Driver, host: MediaHost, tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4", seconds=1, size=5_000_000).read_bytes()
    _, publish_id = await pulled(driver, host.put("/a.mp4", data))
    item = await driver.finished(publish_id)
    assert (item["status"], item["sha256"]) == ("PUBLISH_COMPLETE", hashlib.sha256(data).hexdigest())
    assert (await driver.http.get(f"{driver.base_url}/_simulator/media/{publish_id}/0")).content == data


async def test_a_host_that_does_not_exist(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0, processing_seconds=0, verified_domains=("invalid",))) as simulator:
        driver = Driver(http, simulator.base_url)
        _, publish_id = await pulled(driver, "https://media.invalid./a.mp4")
        assert (await driver.finished(publish_id))["fail_reason"] == "video_pull_failed"


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        (Resource(status=404), "video_pull_failed"),
        (Resource(status=302, headers={"Location": "/right.mp4"}), "video_pull_failed"),
        (Resource(bytes(100_000), status=206), "video_pull_failed"),
        (Resource(bytes(100_000), cut_after=50_000), "video_pull_failed"),
        (Resource(b""), "video_pull_failed"),
        (Resource(bytes(100_000)), "file_format_check_failed"),
    ],
)
async def test_what_gives_no_video(driver: Driver, host: MediaHost, video: bytes, resource: Resource, reason: str) -> None:
    host.put("/right.mp4", video)
    token, publish_id = await pulled(driver, host.put("/a.mp4", resource))
    item = await driver.finished(publish_id)
    assert (item["status"], item["fail_reason"]) == ("FAILED", reason)
    assert (item["sha256"] is None) is (reason == "video_pull_failed")
    assert (await data_of(driver, token, publish_id))["fail_reason"] == reason
    assert host.requested == ["/a.mp4"]


async def test_nobody_there(driver: Driver) -> None:
    _, publish_id = await pulled(driver, "http://127.0.0.1:9/a.mp4")
    assert (await driver.finished(publish_id))["fail_reason"] == "video_pull_failed"


async def test_a_cap_whether_announced_or_not_and_a_stall(http: httpx.AsyncClient, host: MediaHost) -> None:
    settings = Settings(port=0, pull_loopback=True, pull_max_bytes=1000, pull_stall_seconds=0.2, check_media=False)
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        for resource, reason in (
            (Resource(bytes(1001)), "file_format_check_failed"),
            (Resource(bytes(1001), announce_length=False), "file_format_check_failed"),
            (Resource(bytes(1000), stop_after=10), "video_pull_failed"),
        ):
            _, publish_id = await pulled(driver, host.put("/a.mp4", resource))
            assert (await driver.finished(publish_id))["fail_reason"] == reason


async def test_the_fetch_has_an_hour(shared: RunningSimulator, driver: Driver, host: MediaHost) -> None:
    url = host.put("/a.mp4", Resource(bytes(100_000), stop_after=40_000))
    token, publish_id = await pulled(driver, url)

    async def under_way() -> bool:
        return (await data_of(driver, token, publish_id)) == {"status": "PROCESSING_DOWNLOAD", "downloaded_bytes": 40_000}

    await eventually(under_way)
    await driver.advance(3590)
    assert await under_way()
    await driver.advance(10)
    assert (await driver.finished(publish_id))["fail_reason"] == "video_pull_failed"


async def test_cancelling_a_fetch_under_way_but_no_other(driver: Driver, host: MediaHost, video: bytes) -> None:
    almost = Resource(bytes(100_000), stop_after=90_000)
    token, publish_id = await pulled(driver, host.put("/a.mp4", Resource(bytes(100_000), stop_after=40_000)))
    late = (await driver.pull(token, host.put("/b.mp4", almost))).json()["data"]["publish_id"]
    done = (await driver.pull(token, host.put("/c.mp4", video))).json()["data"]["publish_id"]

    async def all_are_where_they_should_be() -> bool:
        return [item["bytes"] for item in await driver.ledger()] == [40_000, 90_000, len(video)]

    await eventually(all_are_where_they_should_be)
    assert (await driver.finished(done))["status"] == "PUBLISH_COMPLETE"
    answer = await driver.cancel(token, publish_id)
    assert (answer.status_code, list(answer.json())) == (200, ["error"])
    data = await data_of(driver, token, publish_id)
    assert (data["status"], data["fail_reason"]) == ("FAILED", "publish_cancelled")
    for other in (publish_id, late, done):
        refused = await driver.cancel(token, other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "publish_not_cancellable")
    almost.go_on.set()
    assert (await driver.finished(late))["fail_reason"] == "file_format_check_failed"
    assert (await data_of(driver, token, publish_id))["fail_reason"] == "publish_cancelled"


async def test_ordered_trouble_with_fetching(driver: Driver, host: MediaHost, video: bytes) -> None:
    url = host.put("/a.mp4", video)
    await driver.fault("download", drop=True)
    token, dropped = await pulled(driver, url)
    assert (await driver.finished(dropped))["fail_reason"] == "video_pull_failed"
    await driver.fault("download", stuck=True)
    stuck = (await driver.pull(token, url)).json()["data"]["publish_id"]
    await driver.fault("download", delay=60)
    waiting = (await driver.pull(token, url)).json()["data"]["publish_id"]
    assert (await data_of(driver, token, waiting))["status"] == "PROCESSING_DOWNLOAD"
    await driver.http.delete(f"{driver.base_url}/_simulator/faults")
    assert (await driver.finished(waiting))["status"] == "PUBLISH_COMPLETE"
    await driver.advance(7000)
    assert (await data_of(driver, token, stuck)) == {"status": "PROCESSING_DOWNLOAD", "downloaded_bytes": 0}
    await driver.fault("processing", fail_reason="internal")
    failing = (await driver.pull(token, url)).json()["data"]["publish_id"]
    assert (await driver.finished(failing))["fail_reason"] == "internal"


async def test_a_lost_answer_of_a_pull_publishes_all_the_same(driver: Driver, host: MediaHost, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault("/v2/post/publish/video/init/", lost_answer=True)
    with pytest.raises(httpx.TransportError):
        await driver.pull(token, host.put("/a.mp4", video))
    (item,) = await driver.ledger()
    assert (await driver.finished(item["publish_id"]))["status"] == "PUBLISH_COMPLETE"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://media.test/a.mp4", "ok"),
        ("https://MEDIA.test:8443/a.mp4", "ok"),
        ("https://deep.cdn.media.test/a.mp4?x=1", "ok"),
        ("https://cdn.test/ours/a.mp4", "ok"),
        ("https://cdn.test/theirs/a.mp4", "url_ownership_unverified"),
        ("https://test/a.mp4", "invalid_params"),
        ("https://notmedia.test/a.mp4", "url_ownership_unverified"),
        ("https://media.test.example.com/a.mp4", "url_ownership_unverified"),
        ("http://media.test/a.mp4", "invalid_params"),
        ("https://user@media.test/a.mp4", "invalid_params"),
        ("https://93.184.216.34/a.mp4", "invalid_params"),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/a.mp4", "invalid_params"),
        ("ftp://127.0.0.1/a.mp4", "invalid_params"),
        ("https://", "invalid_params"),
        ("https://[::1/a.mp4", "invalid_params"),
        ("media.test/a.mp4", "invalid_params"),
        ("https://media.test/" + "a" * 4096, "invalid_params"),
        ("", "invalid_params"),
        (None, "invalid_params"),
        (7, "invalid_params"),
    ],
)
async def test_addresses(driver: Driver, url: Any, code: str) -> None:
    await driver.fault("download", stuck=True)
    token = (await driver.connect())["access_token"]
    assert (await driver.pull(token, url)).json()["error"]["code"] == code


async def test_loopback_is_nothing_to_fetch_from_unless_allowed(http: httpx.AsyncClient, host: MediaHost) -> None:
    async with running_simulator(Settings(port=0, verified_domains=("localhost.test",))) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        for url in (host.put("/a.mp4", b"x"), "https://localhost/a.mp4", "https://127.0.0.1/a.mp4"):
            assert (await driver.pull(token, url)).json()["error"]["code"] == "invalid_params"


async def test_a_name_that_leads_to_this_machine(host: MediaHost, tmp_path: Any) -> None:
    fetcher = Fetcher(Settings())
    with pytest.raises(FetchFailed):
        await fetcher.fetch(host.put("/a.mp4", b"x").replace("127.0.0.1", "localhost"), tmp_path / "a", 10, lambda *_: None)
    await fetcher.close()
    assert host.requested == []
