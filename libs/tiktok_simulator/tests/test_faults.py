import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx_aiohttp import HttpxAiohttpClient

from tiktok_simulator.driver import Driver, eventually
from tiktok_simulator.testing import RunningSimulator

INFO = "/v2/post/publish/creator_info/query/"
INIT = "/v2/post/publish/video/init/"
INBOX = "/v2/post/publish/inbox/video/init/"
CONTENT = "/v2/post/publish/content/init/"
CANCEL = "/v2/post/publish/cancel/"
TOKEN = "/v2/oauth/token/"


@pytest.fixture(params=["httpcore", "aiohttp"])
async def any_driver(request: pytest.FixtureRequest, shared: RunningSimulator) -> AsyncIterator[Driver]:
    await shared.state.reset()
    kind = httpx.AsyncClient if request.param == "httpcore" else HttpxAiohttpClient
    async with kind(timeout=20, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as http:
        yield Driver(http, shared.base_url)


async def test_drop_closes_before_any_effect(any_driver: Driver) -> None:
    driver = any_driver
    token = (await driver.connect())["access_token"]
    await driver.fault(INIT, drop=True)
    with pytest.raises(httpx.TransportError):
        await driver.init(token, 1000)
    assert await driver.ledger() == []
    assert (await driver.init(token, 1000)).status_code == 200
    assert (await driver.stats())["requests"][INIT] == {"0": 1, "200": 1}


async def test_lost_answer_closes_after_the_effect(any_driver: Driver) -> None:
    driver = any_driver
    token = (await driver.connect())["access_token"]
    await driver.fault(INIT, lost_answer=True)
    with pytest.raises(httpx.TransportError):
        await driver.init(token, 1000)
    assert len(await driver.ledger()) == 1


async def test_drop_and_lost_answer_of_drafts_photos_and_cancelling(any_driver: Driver) -> None:
    driver = any_driver
    await driver.fault("download", stuck=True, times=10)
    token = (await driver.connect())["access_token"]
    photos = ["http://127.0.0.1:9/a.jpg"]
    for path, call in ((INBOX, lambda: driver.draft(token, 1000)), (CONTENT, lambda: driver.photos(token, photos))):
        for order, items in (({"drop": True}, 0), ({"lost_answer": True}, 1)):
            before = len(await driver.ledger())
            await driver.fault(path, **order)
            with pytest.raises(httpx.TransportError):
                await call()
            assert len(await driver.ledger()) == before + items
    publish_id = (await driver.photos(token, photos)).json()["data"]["publish_id"]
    for order, status in (({"drop": True}, "PROCESSING_DOWNLOAD"), ({"lost_answer": True}, "FAILED")):
        await driver.fault(CANCEL, **order)
        with pytest.raises(httpx.TransportError):
            await driver.cancel(token, publish_id)
        assert (await driver.status(token, publish_id)).json()["data"]["status"] == status


async def test_who_goes_away_in_the_middle_of_a_request_is_no_fault_of_the_simulators(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    url = httpx.URL(driver.base_url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {INIT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b"{")
    writer.close()
    await eventually(lambda: _is_counted(driver, {"408": 1}))
    assert await driver.ledger() == []


async def _is_counted(driver: Driver, answers: dict[str, int]) -> bool:
    return (await driver.stats())["requests"].get(INIT) == answers


async def test_a_rotation_whose_answer_is_lost(driver: Driver) -> None:
    tokens = await driver.connect()
    await driver.fault(TOKEN, lost_answer=True, open_id=tokens["open_id"])
    assert "access_token" in await driver.connect("demo_private")
    with pytest.raises(httpx.TransportError):
        await driver.refresh(tokens["refresh_token"])
    assert (await driver.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_lost_answer_and_drop_of_a_chunk(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    data = (await driver.init(token, 1000)).json()["data"]
    await driver.fault("upload", drop=True)
    await driver.fault("upload", drop=True, delay_at="body")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            await driver.put(data["upload_url"], 0, 1000, bytes(1000))
    assert (await driver.status(token, data["publish_id"])).json()["data"]["uploaded_bytes"] == 0
    await driver.fault("upload", lost_answer=True)
    with pytest.raises(httpx.TransportError):
        await driver.put(data["upload_url"], 0, 1000, bytes(1000))
    assert (await driver.status(token, data["publish_id"])).json()["data"]["uploaded_bytes"] == 1000


async def test_a_drop_in_the_middle_of_a_large_chunk(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    data = (await driver.init(token, 66_000_000)).json()["data"]
    await driver.fault("upload", drop=True, delay_at="body")
    with pytest.raises(httpx.TransportError):
        await driver.put(data["upload_url"], 0, 66_000_000, bytes(10_000_000))
    assert (await driver.status(token, data["publish_id"])).json()["data"]["uploaded_bytes"] == 0
    assert (await driver.put(data["upload_url"], 0, 66_000_000, bytes(10_000_000))).status_code == 206


@pytest.mark.parametrize(
    ("endpoint", "order", "status", "code"),
    [
        (INIT, {"status": 500}, 500, "internal_error"),
        (INIT, {"status": 503}, 503, "internal_error"),
        (INIT, {"status": 429}, 429, "rate_limit_exceeded"),
        (INIT, {"code": "reached_active_user_cap"}, 403, "reached_active_user_cap"),
        (INFO, {"code": "reached_active_user_cap"}, 200, "reached_active_user_cap"),
        (INIT, {"code": "invalid_params"}, 400, "invalid_params"),
        (INIT, {"code": "access_token_invalid", "status": 200}, 200, "access_token_invalid"),
    ],
)
async def test_ordered_refusals_have_no_effect(
    driver: Driver, endpoint: str, order: dict[str, Any], status: int, code: str
) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault(endpoint, **order)
    call = driver.init(token, 1000) if endpoint == INIT else driver.call(endpoint, token)
    answer = await call
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert await driver.ledger() == []


async def test_ordered_refusals_of_oauth_and_uploads(driver: Driver) -> None:
    tokens = await driver.connect()
    await driver.fault(TOKEN, code="temporarily_unavailable")
    await driver.fault(TOKEN, status=500)
    first, second = [await driver.refresh(tokens["refresh_token"]) for _ in range(2)]
    assert (first.status_code, first.json()["error"]) == (200, "temporarily_unavailable")
    assert (second.status_code, second.json()["error"]) == (500, "server_error")
    assert "access_token" in (await driver.refresh(tokens["refresh_token"])).json()
    data = (await driver.init(tokens["access_token"], 1000)).json()["data"]
    await driver.fault("upload", status=502)
    assert (await driver.put(data["upload_url"], 0, 1000, bytes(1000))).status_code == 502
    assert (await driver.put(data["upload_url"], 0, 1000, bytes(1000))).status_code == 201


async def test_skip_times_and_whose(driver: Driver) -> None:
    mine, other = await driver.connect(), await driver.connect("demo_private")
    await driver.fault(INFO, status=500, skip=1, times=2, open_id=mine["open_id"])
    assert await driver.faults() == [{"endpoint": INFO, "times": 2, "skip": 1, "open_id": mine["open_id"], "status": 500}]
    callers = (mine, other, mine, other, mine, mine)
    seen = [(await driver.call(INFO, caller["access_token"])).status_code for caller in callers]
    assert seen == [200, 200, 500, 200, 500, 200]
    assert await driver.faults() == []


async def test_whose_upload_and_whose_authorization(driver: Driver) -> None:
    mine, other = await driver.connect(), await driver.connect("demo_private")
    await driver.fault("upload", status=500, open_id=mine["open_id"])
    await driver.fault("/v2/auth/authorize/", status=503, open_id=mine["open_id"])
    urls = [(await driver.init(t["access_token"], 1000)).json()["data"]["upload_url"] for t in (other, mine)]
    assert [(await driver.put(url, 0, 1000, bytes(1000))).status_code for url in urls] == [201, 500]
    assert (await driver.put(urls[1] + "x", 0, 1000, bytes(1000))).status_code == 404
    assert (await driver.authorize(simulator_creator="demo_private")).status_code == 302
    assert (await driver.authorize(simulator_creator="demo_public")).status_code == 503


async def test_a_delay_comes_after_the_effect_and_can_be_cut_short(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault(INIT, delay=60)
    call = asyncio.create_task(driver.init(token, 1000))

    async def taken_effect() -> bool:
        return len(await driver.ledger()) == 1

    await eventually(taken_effect)
    assert not call.done()
    await driver.http.delete(f"{driver.base_url}/_simulator/faults")
    assert (await call).status_code == 200


async def test_delays_run_their_time(driver: Driver) -> None:
    token = (await driver.connect())["access_token"]
    await driver.fault(INIT, delay=0.15, delay_at="request")
    await driver.fault(INIT, delay=0.15, status=500)
    await driver.fault(INIT, delay=0.15, lost_answer=True)
    await driver.fault("upload", delay=0.15)
    for expected in (200, 500, None):
        began = time.monotonic()
        if expected is None:
            with pytest.raises(httpx.TransportError):
                await driver.init(token, 1000)
        else:
            assert (await driver.init(token, 1000)).status_code == expected
        assert time.monotonic() - began >= 0.14
    data = (await driver.init(token, 1000)).json()["data"]
    began = time.monotonic()
    assert (await driver.put(data["upload_url"], 0, 1000, bytes(1000))).status_code == 201
    assert time.monotonic() - began >= 0.14


@pytest.mark.parametrize(
    "order",
    [
        {"endpoint": "/v2/nothing/", "drop": True},
        {"endpoint": INIT},
        {"endpoint": INIT, "delay_at": "body"},
        {"endpoint": INIT, "stuck": True},
        {"endpoint": "processing", "drop": True},
        {"endpoint": "download", "lost_answer": True},
        {"endpoint": "download", "fail_reason": "internal"},
        {"endpoint": "processing", "moderation": -1},
        {"endpoint": "processing"},
        {"endpoint": INIT, "drop": True, "times": 0},
        {"endpoint": INIT, "drop": True, "typo": 1},
        {"endpoint": INIT, "status": 99},
        {"endpoint": INIT, "delay": -1},
    ],
)
async def test_orders_that_make_no_sense(driver: Driver, order: dict[str, Any]) -> None:
    answer = await driver.http.post(f"{driver.base_url}/_simulator/faults", json=order)
    assert answer.status_code == 422
    assert await driver.faults() == []
