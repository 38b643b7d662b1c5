from pathlib import Path
from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.probe import check_video
from tiktok_simulator.sample_video import make_video
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator


@pytest.mark.parametrize(
    ("name", "how", "content_type", "verdict"),
    [
        ("a.mp4", {}, "video/mp4", None),
        ("a.mov", {}, "video/quicktime", None),
        ("a.webm", {"codec": "libvpx-vp9", "seconds": 0.3}, "video/webm", None),
        ("a.mp4", {"size": 3_000_000}, "video/mp4", None),
        ("a.mp4", {"fps": 60}, "video/mp4", None),
        ("a.mp4", {"fps": 23}, "video/mp4", None),
        ("a.mp4", {}, "video/webm", "file_format_check_failed"),
        ("a.webm", {"codec": "libvpx-vp9", "seconds": 0.3}, "video/mp4", "file_format_check_failed"),
        ("a.mp4", {"codec": "mpeg4"}, "video/mp4", "file_format_check_failed"),
        ("a.mp4", {"fps": 22}, "video/mp4", "frame_rate_check_failed"),
        ("a.mp4", {"fps": 61}, "video/mp4", "frame_rate_check_failed"),
        ("a.mp4", {"width": 358}, "video/mp4", "picture_size_check_failed"),
        ("a.mp4", {"height": 4098, "seconds": 0.1}, "video/mp4", "picture_size_check_failed"),
        ("a.mp4", {"seconds": 3.2}, "video/mp4", "duration_check_failed"),
    ],
)
def test_rules_of_the_media(tmp_path: Path, name: str, how: dict[str, Any], content_type: str, verdict: str | None) -> None:
    path = make_video(tmp_path / name, **{"seconds": 1, **how})
    assert check_video(path, content_type, 3) == verdict
    if "size" in how:
        assert path.stat().st_size == how["size"]


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    whole = make_video(path).read_bytes()
    for content in (b"", b"\0" * 5000, whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert check_video(path, "video/mp4", 600) == "file_format_check_failed"
    assert check_video(tmp_path / "none.mp4", "video/mp4", 600) == "file_format_check_failed"


def test_samples_differ_by_seed_and_have_a_least_size(tmp_path: Path) -> None:
    first, second = (make_video(tmp_path / f"{n}.mp4", seconds=0.2, seed=n) for n in (1, 2))
    assert first.read_bytes() != second.read_bytes()
    exact = first.stat().st_size
    assert make_video(first, seconds=0.2, seed=1, size=exact).stat().st_size == exact
    with pytest.raises(ValueError, match="too small"):
        make_video(first, seconds=0.2, size=100)
    with pytest.raises(TypeError):
        make_video(first, codec="aac")


async def test_a_public_post_becomes_visible(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    publish_id = await driver.upload(token, video, privacy_level="PUBLIC_TO_EVERYONE")
    item = await driver.finished(publish_id)
    assert item["status"] == "PUBLISH_COMPLETE"
    assert len(item["post_id"]) == 19
    assert item["created_at"] <= item["uploaded_at"] <= item["published_at"]
    data = (await driver.status(token, publish_id)).json()["data"]
    assert data == {
        "status": "PUBLISH_COMPLETE",
        "uploaded_bytes": len(video),
        "publicaly_available_post_id": [int(item["post_id"])],
    }


async def test_a_private_post_shows_no_id(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    publish_id = await driver.upload(token, video)
    item = await driver.finished(publish_id)
    assert item["post_id"]
    assert (await driver.status(token, publish_id)).json()["data"]["publicaly_available_post_id"] == []


async def test_no_video_fails_after_the_upload_was_accepted(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    publish_id = await driver.upload(token, bytes(5000))
    item = await driver.finished(publish_id)
    assert (item["status"], item["fail_reason"]) == ("FAILED", "file_format_check_failed")
    assert item["sha256"] is not None
    data = (await driver.status(token, publish_id)).json()["data"]
    assert (data["status"], data["fail_reason"]) == ("FAILED", "file_format_check_failed")
    assert "publicaly_available_post_id" not in data


async def test_the_creators_own_longest_duration(driver: Driver, video: bytes, tmp_path: Path) -> None:
    creator = {"username": "brief", "persona": "public", "max_video_post_duration_sec": 1}
    await driver.http.post(f"{driver.base_url}/_simulator/creators", json=creator)
    token = (await driver.connect("brief"))["access_token"]
    long = make_video(tmp_path / "long.mp4", seconds=2).read_bytes()
    results = [await driver.finished(await driver.upload(token, data)) for data in (video, long)]
    assert [item["fail_reason"] for item in results] == [None, "duration_check_failed"]


async def test_ordered_ends(driver: Driver, video: bytes) -> None:
    tokens = await driver.connect()
    token = tokens["access_token"]
    await driver.fault("processing", fail_reason="spam_risk_text", open_id="somebody else")
    await driver.fault("processing", fail_reason="internal", skip=1)
    await driver.fault("processing", hide_post_id=True, open_id=tokens["open_id"])
    plain = await driver.upload(token, video, privacy_level="PUBLIC_TO_EVERYONE")
    assert (await driver.finished(plain))["status"] == "PUBLISH_COMPLETE"
    failing = await driver.upload(token, video)
    assert (await driver.finished(failing))["fail_reason"] == "internal"
    hidden = await driver.upload(token, video, privacy_level="PUBLIC_TO_EVERYONE")
    assert (await driver.finished(hidden))["post_id"]
    assert (await driver.status(token, hidden)).json()["data"]["publicaly_available_post_id"] == []
    assert [fault["fail_reason"] for fault in await driver.faults()] == ["spam_risk_text"]


async def test_a_stuck_publication_never_ends(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault("processing", stuck=True)
    stuck = await driver.upload(token, video)
    other = await driver.upload(token, video)
    await driver.finished(other)
    assert (await driver.status(token, stuck)).json()["data"]["status"] == "PROCESSING_UPLOAD"


async def test_a_grant_removed_meanwhile(http: httpx.AsyncClient, video: bytes) -> None:
    async with running_simulator(Settings(port=0, processing_seconds=60)) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        publish_id = await driver.upload(token, video)
        assert (await driver.status(token, publish_id)).json()["data"]["status"] == "PROCESSING_UPLOAD"
        await driver.revoke(token)
        await driver.advance(60)
        assert (await driver.finished(publish_id))["fail_reason"] == "auth_removed"


async def test_moderation_string_ids_and_unchecked_media(http: httpx.AsyncClient) -> None:
    settings = Settings(port=0, processing_seconds=0, moderation_seconds=60, ids_as_strings=True, check_media=False)
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        publish_id = await driver.upload(token, bytes(100), privacy_level="PUBLIC_TO_EVERYONE")
        item = await driver.finished(publish_id)
        assert item["status"] == "PUBLISH_COMPLETE"
        ids: list[str] = (await driver.status(token, publish_id)).json()["data"]["publicaly_available_post_id"]
        assert ids == []
        simulator.state.clock.advance(60)
        ids = (await driver.status(token, publish_id)).json()["data"]["publicaly_available_post_id"]
        assert ids == [item["post_id"]]


REASONS = (
    "file_format_check_failed",
    "duration_check_failed",
    "frame_rate_check_failed",
    "picture_size_check_failed",
    "internal",
    "video_pull_failed",
    "photo_pull_failed",
    "publish_cancelled",
    "auth_removed",
    "spam_risk_too_many_posts",
    "spam_risk_user_banned_from_posting",
    "spam_risk_text",
    "spam_risk",
)


async def test_every_documented_reason_can_be_ordered(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    for reason in REASONS:
        await driver.fault("processing", fail_reason=reason)
        publish_id = await driver.upload(token, bytes(100), reason)
        await driver.finished(publish_id)
        assert (await driver.status(token, publish_id)).json()["data"] == {
            "status": "FAILED",
            "uploaded_bytes": 100,
            "fail_reason": reason,
        }


async def test_a_ban_that_comes_while_it_is_processed(http: httpx.AsyncClient, video: bytes) -> None:
    async with running_simulator(Settings(port=0, processing_seconds=60)) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        publish_id = await driver.upload(token, video)
        await driver.admin("POST", "creators", {"username": "demo_public", "banned": True})
        await driver.advance(60)
        assert (await driver.finished(publish_id))["fail_reason"] == "spam_risk_user_banned_from_posting"
