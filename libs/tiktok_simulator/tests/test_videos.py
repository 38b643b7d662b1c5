"""Video list and query, as strict as TikTok's."""

from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver

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
