"""Every refusal that TikTok documents for the posting endpoints, provoked as a client would provoke it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tiktok_simulator.driver import Driver
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator

INFO = "/v2/post/publish/creator_info/query/"
VIDEO = "/v2/post/publish/video/init/"
INBOX = "/v2/post/publish/inbox/video/init/"
CONTENT = "/v2/post/publish/content/init/"
STATUS = "/v2/post/publish/status/fetch/"
CANCEL = "/v2/post/publish/cancel/"
INITS = (VIDEO, INBOX, CONTENT)
ALL = (INFO, *INITS, STATUS, CANCEL)

DOCUMENTED: dict[str, tuple[int, tuple[str, ...]]] = {
    "invalid_params": (400, INITS),
    "app_version_check_failed": (400, (CONTENT,)),
    "invalid_publish_id": (400, (STATUS, CANCEL)),
    "token_not_authorized_for_specified_publish_id": (400, (STATUS, CANCEL)),
    "publish_not_cancellable": (400, (CANCEL,)),
    "spam_risk_too_many_posts": (403, (INFO, VIDEO, CONTENT)),
    "spam_risk_user_banned_from_posting": (403, (INFO, *INITS)),
    "reached_active_user_cap": (403, (INFO, VIDEO, CONTENT)),
    "spam_risk_too_many_pending_share": (403, (INBOX, CONTENT)),
    "unaudited_client_can_only_post_to_private_accounts": (403, (VIDEO, CONTENT)),
    "url_ownership_unverified": (403, (*INITS, CANCEL)),
    "privacy_level_option_mismatch": (403, (VIDEO, CONTENT)),
    "access_token_invalid": (401, ALL),
    "scope_not_authorized": (401, ALL),
    "rate_limit_exceeded": (429, ALL),
    "internal_error": (500, ALL),
}
CASES = [(code, status, path) for code, (status, paths) in DOCUMENTED.items() for path in paths]
PHOTO = "https://media.test/a.jpg"
FOREIGN = "https://media.test.example.com/a"
SETTINGS: dict[str, dict[str, Any]] = {
    "reached_active_user_cap": {"active_users": 1},
    "unaudited_client_can_only_post_to_private_accounts": {"unaudited": True},
    "rate_limit_exceeded": {
        "init_per_minute": 1,
        "creator_info_per_minute": 1,
        "status_per_minute": 1,
        "cancel_per_minute": 1,
    },
}


class World:
    """Right calls of every endpoint, by a creator of its own."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.token = ""
        self.publish_id = "v_pub_file~v2-1.1"

    async def creator(self, username: str, **fields: Any) -> str:
        await self.driver.admin("POST", "creators", {"username": username, **fields})
        token: str = (await self.driver.connect(username))["access_token"]
        return token

    async def call(self, path: str, *, url: str = PHOTO, draft: bool = False, **info: Any) -> httpx.Response:
        driver, token = self.driver, self.token
        if path == VIDEO:
            return await (driver.init(token, 1000, **info) if url == PHOTO else driver.pull(token, url, **info))
        if path == INBOX:
            return await driver.draft(token, 1000 if url == PHOTO else url)
        if path == CONTENT:
            return await driver.photos(token, [url], mode="MEDIA_UPLOAD" if draft else "DIRECT_POST", **info)
        return await driver.call(path, token, {"publish_id": self.publish_id})


Provoke = Callable[[World, str], Awaitable[httpx.Response]]


async def plain(world: World, path: str) -> httpx.Response:
    return await world.call(path)


async def malformed(world: World, path: str) -> httpx.Response:
    return await world.driver.call(path, world.token, {})


async def outdated(world: World, path: str) -> httpx.Response:
    world.token = await world.creator("outdated", outdated_app=True)
    return await world.call(path, draft=True)


async def of_another(world: World, path: str) -> httpx.Response:
    world.publish_id = (await world.call(VIDEO)).json()["data"]["publish_id"]
    world.token = await world.creator("another")
    return await world.call(path)


async def of_an_upload(world: World, path: str) -> httpx.Response:
    world.publish_id = (await world.call(VIDEO)).json()["data"]["publish_id"]
    return await world.call(path)


async def capped(world: World, path: str) -> httpx.Response:
    world.token = (await world.driver.connect("demo_capped"))["access_token"]
    return await world.call(path)


async def banned(world: World, path: str) -> httpx.Response:
    world.token = await world.creator("banned", banned=True)
    return await world.call(path)


async def one_creator_too_many(world: World, path: str) -> httpx.Response:
    assert (await world.call(VIDEO)).status_code == 200
    assert (await world.call(VIDEO)).status_code == 200
    world.token = await world.creator("one_more")
    return await world.call(path)


async def sixth_draft(world: World, path: str) -> httpx.Response:
    for number in range(5):
        assert (await world.call((INBOX, CONTENT)[number % 2], draft=True)).status_code == 200
    return await world.call(path, draft=True)


async def foreign(world: World, path: str) -> httpx.Response:
    if path == CANCEL:
        # It is in TikTok's table, but nothing says how it comes about.
        await world.driver.fault(CANCEL, code="url_ownership_unverified")
    return await world.call(path, url=FOREIGN)


async def other_level(world: World, path: str) -> httpx.Response:
    return await world.call(path, privacy_level="FOLLOWER_OF_CREATOR")


async def unknown_token(world: World, path: str) -> httpx.Response:
    world.token = "act.unknown"
    return await world.call(path)


async def poor_token(world: World, path: str) -> httpx.Response:
    world.token = (await world.driver.connect(scope="user.info.basic"))["access_token"]
    return await world.call(path)


async def twice(world: World, path: str) -> httpx.Response:
    assert (await world.call(path)).status_code != 429
    return await world.call(path)


async def broken(world: World, path: str) -> httpx.Response:
    await world.driver.fault(path, status=500)
    return await world.call(path)


PROVOKE: dict[str, Provoke] = {
    "invalid_params": malformed,
    "app_version_check_failed": outdated,
    "invalid_publish_id": plain,
    "token_not_authorized_for_specified_publish_id": of_another,
    "publish_not_cancellable": of_an_upload,
    "spam_risk_too_many_posts": capped,
    "spam_risk_user_banned_from_posting": banned,
    "reached_active_user_cap": one_creator_too_many,
    "spam_risk_too_many_pending_share": sixth_draft,
    "unaudited_client_can_only_post_to_private_accounts": plain,
    "url_ownership_unverified": foreign,
    "privacy_level_option_mismatch": other_level,
    "access_token_invalid": unknown_token,
    "scope_not_authorized": poor_token,
    "rate_limit_exceeded": twice,
    "internal_error": broken,
}


@pytest.mark.parametrize(("code", "status", "path"), CASES)
async def test_a_documented_refusal(driver: Driver, code: str, status: int, path: str) -> None:
    if code not in SETTINGS:
        await check(driver, code, status, path)
        return
    settings = Settings(port=0, verified_domains=("media.test",), **SETTINGS[code])
    async with running_simulator(settings) as simulator:
        await check(Driver(driver.http, simulator.base_url), code, status, path)


async def check(driver: Driver, code: str, status: int, path: str) -> None:
    # Nothing is really fetched here.
    await driver.fault("download", stuck=True, times=1000)
    world = World(driver)
    world.token = (await driver.connect())["access_token"]
    answer = await PROVOKE[code](world, path)
    inside_200 = path == INFO and status == 403
    body = answer.json()
    assert (answer.status_code, body["error"]["code"]) == (200 if inside_200 else status, code)
    assert body["error"]["log_id"]
    assert body["data"] == {}
    stats = await driver.stats()
    assert stats["refusals"][path][code] == 1
    assert stats["refused"][code] == 1
    assert stats["rate_limited"] == ({path: 1} if status == 429 else {})
    accepted = sum(stats["requests"].get(init, {}).get("200", 0) for init in INITS)
    assert len(await driver.ledger()) == accepted


async def test_nothing_is_refused_that_is_right(driver: Driver) -> None:
    await driver.fault("download", stuck=True, times=1000)
    world = World(driver)
    world.token = (await driver.connect())["access_token"]
    for path in (INFO, *INITS):
        answer = await world.call(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, "ok")
    world.publish_id = answer.json()["data"]["publish_id"]
    for path in (STATUS, CANCEL):
        answer = await world.call(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, "ok")
    assert "data" not in answer.json()
    stats = await driver.stats()
    assert (stats["refusals"], stats["refused"], stats["rate_limited"]) == ({}, {}, {})
