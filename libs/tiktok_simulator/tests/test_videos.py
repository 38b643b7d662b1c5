"""Video list and query, as strict as TikTok's."""

from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.media_host import MediaHost
from tiktok_simulator.metrics import counters
from tiktok_simulator.publications import Publication
from tiktok_simulator.sample_photo import make_photo
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator
from tiktok_simulator.videos import FIELDS

LIST = "/v2/video/list/?fields=id,title,share_url,create_time,view_count"
QUERY = "/v2/video/query/?fields=id"


async def publish(driver: Driver, token: str, video: bytes, title: str, privacy: str = "PUBLIC_TO_EVERYONE") -> str:
    publish_id = await driver.upload(token, video, title, privacy_level=privacy)
    post_id: str = (await driver.finished(publish_id))["post_id"]
    return post_id


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_only_ones_own_public_videos_are_there(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    other = (await driver.connect("demo_private"))["access_token"]
    seen = await publish(driver, token, video, "seen #tag")
    hidden = await publish(driver, token, video, "hidden", "SELF_ONLY")
    data = (await driver.call(LIST, token)).json()["data"]
    (item,) = data["videos"]
    assert (item["id"], item["title"], item["view_count"]) == (seen, "seen #tag", 0)
    assert isinstance(item["id"], str)
    assert item["share_url"].startswith(f"https://www.tiktok.com/@demo_public/video/{seen}?utm_campaign=tt4d_open_api")
    assert data["cursor"] // 1000 == item["create_time"]
    assert data["has_more"] is False
    query = {"filters": {"video_ids": [seen, hidden, "1"]}}
    assert (await driver.call(QUERY, token, query)).json()["data"]["videos"] == [{"id": seen}]
    assert (await driver.call(QUERY, other, query)).json()["data"]["videos"] == []
    assert (await driver.call(LIST, other)).json()["data"] == {"videos": [], "cursor": 0, "has_more": False}


async def test_a_post_id_that_the_status_hides_is_in_the_list(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault("processing", hide_post_id=True)
    post_id = await publish(driver, token, video, "hidden id")
    assert [item["id"] for item in (await driver.call(LIST, token)).json()["data"]["videos"]] == [post_id]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/video/list/", {}),
        ("/v2/video/list/?fields=id,shares", {}),
        (LIST, {"max_count": 0}),
        (LIST, {"max_count": 21}),
        (LIST, {"max_count": "5"}),
        (LIST, {"max_count": True}),
        (LIST, {"cursor": "x"}),
        ("/v2/video/query/", {"filters": {"video_ids": ["1"]}}),
        (QUERY, {}),
        (QUERY, {"filters": []}),
        (QUERY, {"filters": {"video_ids": []}}),
        (QUERY, {"filters": {"video_ids": [1]}}),
        (QUERY, {"filters": {"video_ids": ["1"] * 21}}),
    ],
)
async def test_wrong_requests(driver: Driver, path: str, body: Any) -> None:
    token = (await driver.connect())["access_token"]
    assert code(await driver.call(path, token, body)) == (400, "invalid_params")


async def test_scope_and_faults(driver: Driver) -> None:
    narrow = (await driver.connect(scope="user.info.basic"))["access_token"]
    assert code(await driver.call(LIST, narrow)) == (401, "scope_not_authorized")
    token = (await driver.connect())["access_token"]
    for path in ("/v2/video/list/", "/v2/video/query/"):
        await driver.fault(path, code="rate_limit_exceeded")
        answer = await driver.call(f"{path}?fields=id", token, {"filters": {"video_ids": ["1"]}})
        assert code(answer) == (429, "rate_limit_exceeded")


async def test_counters_grow_and_never_fall(driver: Driver, video: bytes) -> None:
    tokens = await driver.connect()
    ids = [await publish(driver, tokens["access_token"], video, str(number)) for number in range(3)]
    names = ("view_count", "like_count", "comment_count", "share_count")
    path = f"/v2/video/list/?fields=id,{','.join(names)}"
    seen = []
    for seconds in (0, 6 * 3600, 6 * 3600, 90 * 86400):
        if seconds:
            await driver.advance(seconds)
            tokens = (await driver.refresh(tokens["refresh_token"])).json()
        videos = (await driver.call(path, tokens["access_token"])).json()["data"]["videos"]
        assert [item["id"] for item in videos] == ids[::-1]
        seen.append(videos)
    for now, half, more, last in zip(*seen, strict=True):
        assert now["view_count"] < 50 < half["view_count"] < more["view_count"] < last["view_count"]
        assert half["view_count"] == pytest.approx(last["view_count"] / 2, rel=0.02)
        assert all(now[name] <= half[name] <= more[name] <= last[name] <= last["view_count"] for name in names)


def test_counters_depend_on_the_id_and_the_age_alone() -> None:
    assert counters("1", 5000.0, 3600.0) == counters("1", 5000.0, 3600.0)
    assert counters("1", 5000.0, 3600.0) != counters("2", 5000.0, 3600.0)
    assert set(counters("1", -5.0, 3600.0).values()) == {0}


async def test_what_a_video_shows_of_itself(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await publish(driver, token, video, "x" * 200)
    (item,) = (await driver.call(f"/v2/video/list/?fields={','.join(FIELDS)}", token)).json()["data"]["videos"]
    assert set(item) == set(FIELDS)
    assert (item["duration"], item["width"], item["height"]) == (1, 360, 640)
    assert item["title"] == item["video_description"] == "x" * 150


async def test_pages_lose_nothing(driver: Driver, shared: RunningSimulator) -> None:
    tokens = await driver.connect()
    for number in range(45):
        publication = Publication(
            publish_id=f"p{number}", open_id=tokens["open_id"], username="demo_public", created_at=shared.state.clock.now()
        )
        shared.state.ledger.add(publication)
        shared.state.feed.publish(publication, str(number), "PUBLIC_TO_EVERYONE")
    titles, cursor, pages = [], None, 0
    has_more = True
    while has_more:
        asked = {"max_count": 20, **({"cursor": cursor} if cursor is not None else {})}
        data = (await driver.call(LIST, tokens["access_token"], asked)).json()["data"]
        titles += [item["title"] for item in data["videos"]]
        cursor, has_more, pages = data["cursor"], data["has_more"], pages + 1
    assert (titles, pages) == ([str(number) for number in reversed(range(45))], 3)


async def test_a_post_that_becomes_public_late(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault("processing", moderation=600)
    publish_id = await driver.upload(token, video, privacy_level="PUBLIC_TO_EVERYONE")
    item = await driver.finished(publish_id)
    assert (item["status"], (await driver.call(LIST, token)).json()["data"]["videos"]) == ("PUBLISH_COMPLETE", [])
    assert (await driver.status(token, publish_id)).json()["data"]["publicaly_available_post_id"] == []
    await driver.advance(600)
    assert [item["id"] for item in (await driver.call(LIST, token)).json()["data"]["videos"]] == [item["post_id"]]
    assert (await driver.status(token, publish_id)).json()["data"]["publicaly_available_post_id"] == [int(item["post_id"])]


@pytest.mark.parametrize("listed", [False, True])
async def test_photos_in_the_list(http: httpx.AsyncClient, host: MediaHost, listed: bool) -> None:
    settings = Settings(port=0, processing_seconds=0, pull_loopback=True, photos_in_video_list=listed, ids_bare=True)
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        answer = await driver.photos(token, [host.put("/1", make_photo())], privacy_level="PUBLIC_TO_EVERYONE")
        item = await driver.finished(answer.json()["data"]["publish_id"])
        videos = (await driver.call(LIST, token)).json()["data"]["videos"]
        assert [video["id"] for video in videos] == ([item["post_id"]] if listed else [])
        shown = (await driver.status(token, item["publish_id"])).json()["data"]["publicaly_available_post_id"]
        assert shown == int(item["post_id"])
