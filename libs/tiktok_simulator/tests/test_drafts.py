"""Drafts: into the inbox, posted once or often, discarded, at most five; and what creators do to posts later."""

import asyncio
from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.media_host import MediaHost
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import RunningSimulator, running_simulator

DAY = 86400.0


async def delivered(driver: Driver, token: str, video: bytes) -> str:
    data = (await driver.draft(token, len(video))).json()["data"]
    (await driver.put(data["upload_url"], 0, len(video), video)).raise_for_status()
    item = await driver.finished(data["publish_id"])
    assert (item["status"], item["draft"], item["mode"]) == ("SEND_TO_USER_INBOX", "waiting", "inbox")
    publish_id: str = data["publish_id"]
    return publish_id


async def status(driver: Driver, token: str, publish_id: str) -> dict[str, Any]:
    data: dict[str, Any] = (await driver.status(token, publish_id)).json()["data"]
    return data


async def told(driver: Driver, publish_id: str) -> list[str]:
    items = (await driver.admin("GET", "webhooks"))["items"]
    return [item["event"].removeprefix("post.publish.") for item in items if publish_id in item["body"]["content"]]


async def test_a_draft_until_its_creator_posts_it_twice(driver: Driver, video: bytes) -> None:
    token = (await driver.connect(scope="user.info.basic,video.upload,video.list"))["access_token"]
    publish_id = await delivered(driver, token, video)
    assert publish_id.startswith("v_inbox_file~v2.")
    assert await status(driver, token, publish_id) == {"status": "SEND_TO_USER_INBOX", "uploaded_bytes": len(video)}
    first = await driver.admin("POST", f"drafts/{publish_id}/publish", {"title": "mine"})
    data = await status(driver, token, publish_id)
    assert (data["status"], data["publicaly_available_post_id"]) == ("PUBLISH_COMPLETE", [int(first["post_id"])])
    second = await driver.admin("POST", f"drafts/{publish_id}/publish")
    data = await status(driver, token, publish_id)
    assert data["publicaly_available_post_id"] == [int(first["post_id"]), int(second["post_id"])]
    (item,) = await driver.ledger()
    assert item["post_ids"] == [first["post_id"], second["post_id"]]
    listed = (await driver.call("/v2/video/list/?fields=id,title", token)).json()["data"]["videos"]
    assert [video["title"] for video in listed] == ["", "mine"]


async def test_a_draft_by_pull(driver: Driver, host: MediaHost, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    publish_id = (await driver.draft(token, host.put("/a.mp4", video))).json()["data"]["publish_id"]
    assert publish_id.startswith("v_inbox_url~v2.")
    assert (await driver.finished(publish_id))["status"] == "SEND_TO_USER_INBOX"


async def test_only_delivered_drafts_can_be_posted_or_discarded(driver: Driver, video: bytes) -> None:
    token = (await driver.connect())["access_token"]
    waiting = (await driver.draft(token, 1000)).json()["data"]["publish_id"]
    direct = await driver.upload(token, video)
    discarded = await delivered(driver, token, video)
    await driver.admin("POST", f"drafts/{discarded}/discard")
    assert (await status(driver, token, discarded))["status"] == "SEND_TO_USER_INBOX"
    for publish_id, code in ((waiting, 409), (direct, 409), (discarded, 409), ("unknown", 404)):
        for verb in ("publish", "discard"):
            answer = await driver.http.post(f"{driver.base_url}/_simulator/drafts/{publish_id}/{verb}")
            assert answer.status_code == code


async def test_five_drafts_in_a_day(driver: Driver, video: bytes) -> None:
    tokens = await driver.connect()
    token = tokens["access_token"]
    posted = await delivered(driver, token, video)
    await driver.admin("POST", f"drafts/{posted}/publish")
    broken = await driver.draft(token, 1000)
    await driver.put(broken.json()["data"]["upload_url"], 0, 1000, bytes(1000))
    await driver.finished(broken.json()["data"]["publish_id"])
    for _ in range(4):
        assert (await driver.draft(token, 1000)).status_code == 200
    refused = await driver.draft(token, 1000)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "spam_risk_too_many_pending_share")
    await driver.advance(3601)
    # Four upload addresses ran out with nothing sent: no draft can come of them any more.
    assert (await driver.draft(token, 1000)).status_code == 200
    await driver.advance(DAY)
    token = (await driver.refresh(tokens["refresh_token"])).json()["access_token"]
    assert [(await driver.draft(token, 1000)).status_code for _ in range(6)] == [200] * 5 + [403]


async def test_the_other_reading_of_the_limit(http: httpx.AsyncClient, video: bytes) -> None:
    settings = Settings(port=0, processing_seconds=0, pending_shares=2, pending_shares_free_up=True, init_per_minute=100)
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        tokens = await driver.connect()
        token = tokens["access_token"]
        first, second = [await delivered(driver, token, video) for _ in range(2)]
        assert (await driver.draft(token, 1000)).status_code == 403
        await driver.advance(2 * DAY)
        token = (await driver.refresh(tokens["refresh_token"])).json()["access_token"]
        assert (await driver.draft(token, 1000)).status_code == 403
        await driver.admin("POST", f"drafts/{first}/publish")
        assert (await driver.draft(token, 1000)).status_code == 200
        assert (await driver.draft(token, 1000)).status_code == 403
        await driver.admin("POST", f"drafts/{second}/discard")
        assert (await driver.draft(token, 1000)).status_code == 200


async def test_what_the_app_is_told(http: httpx.AsyncClient, video: bytes, host: MediaHost) -> None:
    app = await asyncio.start_server(_accept, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{app.sockets[0].getsockname()[1]}/"
    settings = Settings(port=0, processing_seconds=0, moderation_seconds=60, webhook_url=url, pull_loopback=True)
    async with app, running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        publish_id = await delivered(driver, token, video)
        post_id = (await driver.admin("POST", f"drafts/{publish_id}/publish"))["post_id"]
        await driver.advance(60)
        await _hears(driver, publish_id, "inbox_delivered", "complete", "publicly_available")
        for level in ("SELF_ONLY", "SELF_ONLY", "PUBLIC_TO_EVERYONE"):
            await driver.admin("POST", f"posts/{post_id}/privacy", {"privacy_level": level})
        expected = ["inbox_delivered", "complete", "publicly_available", "no_longer_publicaly_available", "publicly_available"]
        await _hears(driver, publish_id, *expected)
        assert (await status(driver, token, publish_id))["publicaly_available_post_id"] == [int(post_id)]
        await driver.admin("DELETE", f"posts/{post_id}")
        await _hears(driver, publish_id, *expected, "no_longer_publicaly_available")
        assert (await status(driver, token, publish_id))["publicaly_available_post_id"] == []
        assert (await http.delete(f"{driver.base_url}/_simulator/posts/{post_id}")).status_code == 404
        await driver.fault("download", stuck=True)
        cancelled = (await driver.draft(token, host.put("/a", video))).json()["data"]["publish_id"]
        await driver.cancel(token, cancelled)
        await _hears(driver, cancelled, "failed")
        bodies = [item["body"]["content"] for item in (await driver.admin("GET", "webhooks"))["items"]]
        assert all('"publish_type":"INBOX_SHARE"' in body for body in bodies)
        assert '"reason":"publish_cancelled"' in bodies[-1]


async def _hears(driver: Driver, publish_id: str, *events: str) -> None:
    async def all_told() -> bool:
        return await told(driver, publish_id) == list(events)

    await eventually(all_told)


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "posts/1/privacy", {"privacy_level": "NOBODY"}),
        ("POST", "clock", {"seconds": -1}),
        ("POST", "clock", {}),
    ],
)
async def test_admin_calls_that_make_no_sense(driver: Driver, method: str, path: str, body: Any) -> None:
    answer = await driver.http.request(method, f"{driver.base_url}/_simulator/{path}", json=body)
    assert answer.status_code == 422


async def test_the_clock_is_shown_and_set_back_by_a_reset(shared: RunningSimulator, driver: Driver) -> None:
    before = await driver.admin("GET", "clock")
    await driver.advance(1000)
    after = await driver.admin("GET", "clock")
    assert after["now"] >= before["now"] + 1000
    assert (before["ahead"], after["ahead"]) == (0, 1000)
    await driver.admin("POST", "reset")
    assert (await driver.admin("GET", "clock"))["ahead"] == 0
