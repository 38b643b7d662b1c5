"""Photo posts: rules of the request, fetched for real, checked, published or delivered as drafts."""

import hashlib
from typing import Any

import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.media_host import MediaHost, Resource
from tiktok_simulator.sample_photo import make_photo

CONTENT = "/v2/post/publish/content/init/"


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    return [make_photo(seed=1), make_photo(seed=2), make_photo("webp")]


async def test_photos_are_fetched_in_order_and_published(driver: Driver, host: MediaHost, pictures: list[bytes]) -> None:
    token = (await driver.connect())["access_token"]
    urls = [host.put(f"/{number}", data) for number, data in enumerate(pictures)]
    answer = await driver.photos(token, urls, title="t", description="d #x", auto_add_music=True, disable_duet="ignored")
    publish_id = answer.json()["data"]["publish_id"]
    assert list(answer.json()["data"]) == ["publish_id"]
    assert publish_id.startswith("p_pub_url~v2.")
    item = await driver.finished(publish_id)
    assert (item["status"], item["mode"], item["media_type"]) == ("PUBLISH_COMPLETE", "direct", "photo")
    assert (item["title"], item["description"]) == ("t", "d #x")
    assert item["options"] == {"auto_add_music": True, "photo_cover_index": 0}
    assert item["photos"] == [{"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for data in pictures]
    assert item["sha256"] == hashlib.sha256(b"".join(pictures)).hexdigest()
    assert item["bytes"] == sum(map(len, pictures))
    assert host.requested == ["/0", "/1", "/2"]


async def test_a_photo_draft(driver: Driver, host: MediaHost, pictures: list[bytes]) -> None:
    token = (await driver.connect(scope="user.info.basic,video.upload"))["access_token"]
    answer = await driver.photos(token, [host.put("/0", pictures[0])], mode="MEDIA_UPLOAD", title="kept")
    item = await driver.finished(publish_id := answer.json()["data"]["publish_id"])
    assert (item["status"], item["mode"], item["post_id"]) == ("SEND_TO_USER_INBOX", "inbox", None)
    await driver.admin("POST", f"drafts/{publish_id}/publish", {"privacy_level": "SELF_ONLY"})
    (item,) = await driver.ledger()
    assert (item["status"], item["draft"], item["title"]) == ("PUBLISH_COMPLETE", "posted", "kept")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (make_photo("png"), "file_format_check_failed"),
        (make_photo(width=1082, height=1920), "picture_size_check_failed"),
        (make_photo()[:300], "file_format_check_failed"),
        (b"\xff\xd8\xff" + bytes(20_000_000), "file_format_check_failed"),
    ],
    ids=["png", "large", "broken", "heavy"],
)
async def test_photos_that_tiktok_does_not_take(driver: Driver, host: MediaHost, data: bytes, reason: str) -> None:
    token = (await driver.connect())["access_token"]
    urls = [host.put("/good", make_photo()), host.put("/bad", data)]
    answer = await driver.photos(token, urls)
    assert (await driver.finished(answer.json()["data"]["publish_id"]))["fail_reason"] == reason


async def test_one_photo_that_cannot_be_fetched(driver: Driver, host: MediaHost, pictures: list[bytes]) -> None:
    token = (await driver.connect())["access_token"]
    urls = [host.put("/0", pictures[0]), host.put("/1", Resource(status=500))]
    item = await driver.finished((await driver.photos(token, urls)).json()["data"]["publish_id"])
    assert (item["status"], item["fail_reason"], item["sha256"]) == ("FAILED", "photo_pull_failed", None)


def body(**changes: Any) -> dict[str, Any]:
    """Return a right body with changes: ``post_``, ``source_`` and whole fields; ... leaves one out."""
    right: dict[str, Any] = {
        "media_type": "PHOTO",
        "post_mode": "DIRECT_POST",
        "post_info": {"privacy_level": "SELF_ONLY"},
        "source_info": {"source": "PULL_FROM_URL", "photo_images": ["https://media.test/1.jpg"], "photo_cover_index": 0},
    }
    for name, value in changes.items():
        part, _, key = name.partition("__")
        target, field = (right[part], key) if key else (right, part)
        if value is ...:
            del target[field]
        else:
            target[field] = value
    return right


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "ok"),
        ({"source_info__photo_images": ["https://media.test/1.jpg"] * 35, "source_info__photo_cover_index": 34}, "ok"),
        ({"post_info__title": "🎬" * 45, "post_info__description": "x" * 4000}, "ok"),
        ({"post_info": {}, "post_mode": "MEDIA_UPLOAD"}, "ok"),
        ({"post_info__brand_content_toggle": "yes", "post_mode": "MEDIA_UPLOAD"}, "ok"),
        ({"is_aigc": True}, "ok"),
        ({"media_type": "VIDEO"}, "invalid_params"),
        ({"media_type": ...}, "invalid_params"),
        ({"post_mode": "DIRECT POST"}, "invalid_params"),
        ({"post_mode": ...}, "invalid_params"),
        ({"post_mode": ["DIRECT_POST"]}, "invalid_params"),
        ({"post_info": ...}, "invalid_params"),
        ({"source_info": ...}, "invalid_params"),
        ({"source_info__source": "FILE_UPLOAD"}, "invalid_params"),
        ({"source_info__photo_images": []}, "invalid_params"),
        ({"source_info__photo_images": ["https://media.test/1.jpg"] * 36}, "invalid_params"),
        ({"source_info__photo_images": "https://media.test/1.jpg"}, "invalid_params"),
        ({"source_info__photo_images": [1]}, "invalid_params"),
        ({"source_info__photo_images": ["https://media.test/1.jpg", "http://media.test/2.jpg"]}, "invalid_params"),
        ({"source_info__photo_images": ["https://media.test/1.jpg", "https://x.test/2.jpg"]}, "url_ownership_unverified"),
        ({"source_info__photo_cover_index": ...}, "invalid_params"),
        ({"source_info__photo_cover_index": 1}, "invalid_params"),
        ({"source_info__photo_cover_index": -1}, "invalid_params"),
        ({"post_info__title": "🎬" * 45 + "x"}, "invalid_params"),
        ({"post_info__description": "x" * 4001}, "invalid_params"),
        ({"post_info__auto_add_music": "yes"}, "invalid_params"),
        ({"is_aigc": 1}, "invalid_params"),
        ({"post_info__privacy_level": ...}, "privacy_level_option_mismatch"),
    ],
)
async def test_rules_of_the_request(driver: Driver, changes: dict[str, Any], code: str) -> None:
    await driver.fault("download", stuck=True)
    token = (await driver.connect())["access_token"]
    assert (await driver.call(CONTENT, token, body(**changes))).json()["error"]["code"] == code
    assert len(await driver.ledger()) == (code == "ok")


@pytest.mark.parametrize(("scope", "mode"), [("video.upload", "DIRECT_POST"), ("video.publish", "MEDIA_UPLOAD")])
async def test_each_mode_has_its_scope(driver: Driver, scope: str, mode: str) -> None:
    token = (await driver.connect(scope=f"user.info.basic,{scope}"))["access_token"]
    answer = await driver.photos(token, ["https://media.test/1.jpg"], mode=mode)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "scope_not_authorized")
