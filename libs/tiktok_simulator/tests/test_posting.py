import json
from typing import Any

import httpx
import pytest

from tiktok_simulator.answers import ApiError
from tiktok_simulator.driver import Driver
from tiktok_simulator.init_rules import check_chunks
from tiktok_simulator.quotas import INIT, Quotas
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator

INFO = "/v2/post/publish/creator_info/query/"
INIT_PATH = "/v2/post/publish/video/init/"
STATUS = "/v2/post/publish/status/fetch/"
TWO_CHUNKS = {
    "post_info": {"privacy_level": "SELF_ONLY"},
    "source_info": {"source": "FILE_UPLOAD", "video_size": 20_000_000, "chunk_size": 10_000_000, "total_chunk_count": 2},
}
SOURCE = {"source": "FILE_UPLOAD", "video_size": 1000, "chunk_size": 1000, "total_chunk_count": 1}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("size", "chunk", "count", "problem"),
    [
        (1, 1, 1, None),
        (3_145_728, 3_145_728, 1, None),
        (4_999_999, 4_999_999, 1, None),
        (64_000_000, 64_000_000, 1, None),
        (64_000_001, 10_000_000, 6, None),
        (50_000_123, 10_000_000, 5, None),
        (150_000_000, 10_000_000, 15, None),
        (10_485_760, 5_242_880, 2, None),
        (10_000_000, 5_000_000, 2, None),
        (4_294_967_296, 10_000_000, 429, None),
        (4_294_967_296, 5_000_000, 858, None),
        (0, 0, 1, "The video size is invalid"),
        (-1, 1, 1, "The video size is invalid"),
        (4_294_967_297, 10_000_000, 429, "The video size is invalid"),
        (64_000_001, 64_000_001, 1, "The chunk size is invalid"),
        (66_000_000, 64_000_000, 1, "The chunk size is invalid"),
        (121_000_000, 64_000_000, 1, "The chunk size is invalid"),
        (66_000_000, 64_000_000, 2, "The total chunk count is invalid"),
        (50_000_123, 10_000_000, 6, "The total chunk count is invalid"),
        (3_000_000, 3_000_000, 2, "The total chunk count is invalid"),
        (20_000_000, 4_999_999, 4, "The chunk size is invalid"),
        (20_000_000, 0, 1, "The chunk size is invalid"),
        (3_000_000, 5_000_000, 1, "The chunk size is invalid"),
        (3_000_000, 1_000_000, 3, "The chunk size is invalid"),
        (200_000_000, 64_000_001, 3, "The chunk size is invalid"),
    ],
)
def test_chunk_rules(size: int, chunk: int, count: int, problem: str | None) -> None:
    source = {"video_size": size, "chunk_size": chunk, "total_chunk_count": count}
    if problem is None:
        assert check_chunks(source, 1_000_000) == (size, chunk, count)
        return
    with pytest.raises(ApiError) as caught:
        check_chunks(source, 1_000_000)
    assert (caught.value.code, caught.value.message) == ("invalid_params", problem)


@pytest.mark.parametrize("value", [None, "10", 1.5, True])
def test_sizes_are_integers(value: object) -> None:
    with pytest.raises(ApiError, match="invalid_params"):
        check_chunks({"video_size": value, "chunk_size": 1, "total_chunk_count": 1}, 1_000_000)


@pytest.mark.parametrize(
    ("username", "options", "limited"),
    [
        ("demo_public", ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"], False),
        ("demo_private", ["FOLLOWER_OF_CREATOR", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"], True),
    ],
)
async def test_creator_info(driver: Driver, username: str, options: list[str], limited: bool) -> None:
    token = (await driver.connect(username))["access_token"]
    answer = await driver.http.post(f"{driver.base_url}{INFO}", headers={"Authorization": f"Bearer {token}"})
    body = answer.json()
    assert body["error"]["code"] == "ok"
    assert body["error"]["log_id"]
    assert body["data"]["privacy_level_options"] == options
    assert body["data"]["duet_disabled"] is body["data"]["stitch_disabled"] is limited
    assert body["data"]["creator_username"] == username
    assert body["data"]["max_video_post_duration_sec"] in {300, 600}
    avatar = await driver.http.get(body["data"]["creator_avatar_url"])
    assert avatar.headers["content-type"] == "image/svg+xml"


async def test_a_capped_creator_is_refused_inside_200_and_by_403_at_init(driver: Driver) -> None:
    token = (await driver.connect("demo_capped"))["access_token"]
    assert error_of(await driver.call(INFO, token)) == (200, "spam_risk_too_many_posts")
    assert error_of(await driver.init(token, 1000)) == (403, "spam_risk_too_many_posts")
    assert await driver.ledger() == []


@pytest.mark.parametrize("path", [INFO, INIT_PATH, STATUS])
async def test_tokens_and_scopes(driver: Driver, path: str) -> None:
    assert error_of(await driver.call(path, "act.unknown")) == (401, "access_token_invalid")
    without = await driver.http.post(f"{driver.base_url}{path}", json={})
    assert error_of(without) == (401, "access_token_invalid")
    poor = (await driver.connect(scope="user.info.basic"))["access_token"]
    assert error_of(await driver.call(path, poor)) == (401, "scope_not_authorized")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"privacy_level": "FOLLOWER_OF_CREATOR"}, (403, "privacy_level_option_mismatch")),
        ({"privacy_level": None}, (403, "privacy_level_option_mismatch")),
        ({"privacy_level": 7}, (403, "privacy_level_option_mismatch")),
        ({"title": "x" * 2201}, (400, "invalid_params")),
        ({"title": "🎬" * 1101}, (400, "invalid_params")),
        ({"title": 5}, (400, "invalid_params")),
        ({"disable_duet": "yes"}, (400, "invalid_params")),
        ({"is_aigc": 1}, (400, "invalid_params")),
        ({"video_cover_timestamp_ms": "1"}, (400, "invalid_params")),
        ({"video_cover_timestamp_ms": True}, (400, "invalid_params")),
    ],
)
async def test_refused_post_info(driver: Driver, change: dict[str, Any], expected: tuple[int, str]) -> None:
    token = (await driver.connect())["access_token"]
    assert error_of(await driver.init(token, 1000, **change)) == expected
    assert await driver.ledger() == []


async def test_an_accepted_init(driver: Driver) -> None:
    tokens = await driver.connect()
    answer = await driver.init(
        tokens["access_token"],
        1000,
        title="🎬" * 1100,
        privacy_level="PUBLIC_TO_EVERYONE",
        disable_duet=True,
        video_cover_timestamp_ms=500,
        unknown="ignored",
    )
    data = answer.json()["data"]
    assert data["publish_id"].startswith("v_pub_file~v2-1.")
    assert len(data["publish_id"]) <= 64
    assert len(data["upload_url"]) <= 256
    (item,) = await driver.ledger()
    assert item["publish_id"] == data["publish_id"]
    assert item["open_id"] == tokens["open_id"]
    assert item["title"] == "🎬" * 1100
    assert item["options"] == {"disable_duet": True, "video_cover_timestamp_ms": 500}
    assert (item["status"], item["bytes"], item["sha256"], item["mode"]) == ("PROCESSING_UPLOAD", 0, None, "direct")
    assert item["created_at"].endswith("Z")
    assert item["uploaded_at"] is item["published_at"] is item["post_id"] is None
    await driver.init(tokens["access_token"], 1000, title="🎬" * 1100)
    await driver.init(tokens["access_token"], 1000, title="other")
    assert [entry["inits"] for entry in await driver.ledger()] == [2, 2, 1]
    assert len(await driver.ledger(title="other")) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"post_info": {"privacy_level": "SELF_ONLY"}},
        {"source_info": SOURCE},
        {"post_info": [], "source_info": SOURCE},
        {"post_info": {"privacy_level": "SELF_ONLY"}, "source_info": {**SOURCE, "source": "MAGIC"}},
        {"post_info": {"privacy_level": "SELF_ONLY"}, "source_info": {**SOURCE, "total_chunk_count": 2}},
    ],
)
async def test_refused_bodies(driver: Driver, body: dict[str, Any]) -> None:
    token = (await driver.connect())["access_token"]
    assert error_of(await driver.call(INIT_PATH, token, body)) == (400, "invalid_params")


async def test_bodies_that_are_no_json_object(driver: Driver) -> None:
    headers = {"Authorization": f"Bearer {(await driver.connect())['access_token']}"}
    for content, content_type in (
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "text/plain"),
        (
            json.dumps({"post_info": {"title": "\ud83c", "privacy_level": "SELF_ONLY"}, "source_info": SOURCE}),
            "application/json",
        ),
        (b'{"a":"' + b"x" * 1_100_000 + b'"}', "application/json"),
    ):
        answer = await driver.http.post(
            f"{driver.base_url}{INIT_PATH}", content=content, headers={**headers, "Content-Type": content_type}
        )
        assert error_of(answer) == (400, "invalid_params")


async def test_status_belongs_to_its_creator(driver: Driver) -> None:
    mine = (await driver.connect())["access_token"]
    other = (await driver.connect("demo_private"))["access_token"]
    publish_id = (await driver.init(mine, 1000)).json()["data"]["publish_id"]
    moving = (await driver.status(mine, publish_id)).json()["data"]
    assert moving == {"status": "PROCESSING_UPLOAD", "uploaded_bytes": 0}
    assert error_of(await driver.status(other, publish_id)) == (
        400,
        "token_not_authorized_for_specified_publish_id",
    )
    assert error_of(await driver.status(mine, "v_pub_file~v2-1.1")) == (400, "invalid_publish_id")
    assert error_of(await driver.call(STATUS, mine, {"publish_id": 1})) == (400, "invalid_publish_id")


async def test_rate_limits_are_per_token_and_counted(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0)) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        for path, limit in ((INIT_PATH, 6), (INFO, 20), (STATUS, 30)):
            answers = [error_of(await driver.call(path, token)) for _ in range(limit + 2)]
            assert all(answer[0] != 429 for answer in answers[:limit])
            assert answers[limit:] == [(429, "rate_limit_exceeded")] * 2
        other = (await driver.connect("demo_private"))["access_token"]
        assert (await driver.call(INFO, other)).status_code == 200
        assert (await driver.stats())["rate_limited"] == {INIT_PATH: 2, INFO: 2, STATUS: 2}


def test_the_minute_slides() -> None:
    quotas = Quotas(Settings(init_per_minute=2))
    assert [quotas.admit(INIT, "t", at) for at in (0, 30, 59, 60, 61, 89.9, 90)] == [
        True,
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_forgotten_tokens_are_swept() -> None:
    quotas = Quotas(Settings())
    for number in range(10_002):
        quotas.admit(INIT, str(number), 0)
    assert quotas.admit(INIT, "new", 100)
    assert len(quotas._calls) == 1


@pytest.mark.parametrize(("shared", "statuses"), [(True, [200, 429, 429]), (False, [200, 200, 400])])
async def test_whether_the_inits_share_a_minute(http: httpx.AsyncClient, shared: bool, statuses: list[int]) -> None:
    async with running_simulator(
        Settings(port=0, init_per_minute=1, shared_init_limit=shared, retry_after=shared)
    ) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        answers = [await driver.init(token, 1000), await driver.draft(token, 1000), await driver.photos(token, [])]
        assert [answer.status_code for answer in answers] == statuses
        assert answers[1].headers.get("retry-after") == ("60" if shared else None)
        await driver.advance(60)
        assert (await driver.draft(token, 1000)).status_code == 200


async def test_readings_that_the_documents_leave_open(http: httpx.AsyncClient) -> None:
    settings = Settings(
        port=0,
        invalid_param_code="invalid_param",
        refuse_branded_self_only=True,
        out_of_scope_fields="omit",
        publish_id_seconds=60,
        stored_chunk_again="accept",
        uploaded_bytes_lag_seconds=30,
        processing_seconds=600,
    )
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect(scope="user.info.basic,video.publish"))["access_token"]
        for branded, title in ((True, "private"), (False, "x" * 2201)):
            answer = await driver.init(token, 1000, title, brand_content_toggle=branded)
            assert error_of(answer) == (400, "invalid_param")
        user = await driver.http.get(
            f"{driver.base_url}/v2/user/info/",
            params={"fields": "display_name,username"},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert user.json()["data"]["user"] == {"display_name": "Demo Public"}
        data = (await driver.init(token, 20_000_000)).json()["data"]
        big = (await driver.call(INIT_PATH, token, TWO_CHUNKS)).json()["data"]
        half = bytes(10_000_000)
        statuses = [await driver.put(big["upload_url"], first, 20_000_000, half) for first in (0, 0, 10_000_000, 10_000_000)]
        assert [answer.status_code for answer in statuses] == [206, 206, 201, 201]
        assert len(await driver.ledger(publish_id=big["publish_id"])) == 1
        assert error_of(await driver.status(token, data["publish_id"])) == (200, "ok")
        for counted in (10_000_000, 20_000_000):
            assert (await driver.status(token, big["publish_id"])).json()["data"]["uploaded_bytes"] == counted
            await driver.advance(30)
        assert error_of(await driver.status(token, data["publish_id"])) == (400, "invalid_publish_id")


async def test_the_daily_cap(http: httpx.AsyncClient, video: bytes) -> None:
    settings = Settings(port=0, daily_posts=2, processing_seconds=0)
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        token = (await driver.connect())["access_token"]
        started = [(await driver.init(token, len(video), str(n))).json()["data"] for n in range(3)]
        results = []
        for item in started:
            await driver.put(item["upload_url"], 0, len(video), video)
            results.append(await driver.finished(item["publish_id"]))
        assert [item["status"] for item in results] == ["PUBLISH_COMPLETE", "PUBLISH_COMPLETE", "FAILED"]
        assert results[2]["fail_reason"] == "spam_risk_too_many_posts"
        assert error_of(await driver.init(token, 1000)) == (403, "spam_risk_too_many_posts")
        assert error_of(await driver.call(INFO, token)) == (200, "spam_risk_too_many_posts")
        await driver.advance(86400)
        assert error_of(await driver.init((await driver.connect())["access_token"], 1000)) == (200, "ok")


async def test_unaudited_apps(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0, unaudited=True)) as simulator:
        driver = Driver(http, simulator.base_url)
        public, private = [(await driver.connect(name))["access_token"] for name in ("demo_public", "demo_private")]
        assert (await driver.call(INFO, public)).json()["data"]["privacy_level_options"] == ["SELF_ONLY"]
        assert error_of(await driver.init(public, 1000)) == (
            403,
            "unaudited_client_can_only_post_to_private_accounts",
        )
        for wrong in ({"privacy_level": "FOLLOWER_OF_CREATOR"}, {"privacy_level": "PUBLIC_TO_EVERYONE"}):
            refused = await driver.init(private, 1000, **wrong)
            assert error_of(refused) == (403, "unaudited_client_can_only_post_to_private_accounts")
        assert error_of(await driver.init(private, 1000, privacy_level=None)) == (403, "privacy_level_option_mismatch")
        assert error_of(await driver.init(private, 1000)) == (200, "ok")
        assert error_of(await driver.draft(public, 1000)) == (200, "ok")


async def test_an_unaudited_app_has_five_users_a_day(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0, unaudited=True)) as simulator:
        driver = Driver(http, simulator.base_url)
        tokens = []
        for number in range(6):
            creator = {"username": f"user{number}", "persona": "private"}
            await driver.admin("POST", "creators", creator)
            tokens.append((await driver.connect(creator["username"]))["access_token"])
        answers = [error_of(await driver.init(token, 1000)) for token in tokens]
        assert answers == [(200, "ok")] * 5 + [(403, "reached_active_user_cap")]
        assert error_of(await driver.call(INFO, tokens[5])) == (200, "reached_active_user_cap")
        assert error_of(await driver.call(INFO, tokens[0])) == (200, "ok")
        await driver.advance(86400)
        assert error_of(await driver.init((await driver.connect("user5"))["access_token"], 1000)) == (200, "ok")


async def test_user_info(driver: Driver) -> None:
    async def fields(token: str, names: str) -> httpx.Response:
        return await driver.http.get(
            f"{driver.base_url}/v2/user/info/",
            params={"fields": names},
            headers={"Authorization": f"Bearer {token}"},
        )

    tokens = await driver.connect()
    answer = await fields(tokens["access_token"], "open_id,username,follower_count,is_verified")
    assert answer.json()["data"]["user"] == {
        "open_id": tokens["open_id"],
        "username": "demo_public",
        "follower_count": 12840,
        "is_verified": False,
    }
    assert error_of(await fields(tokens["access_token"], "")) == (400, "invalid_params")
    assert error_of(await fields(tokens["access_token"], "open_id,email")) == (400, "invalid_params")
    poor = (await driver.connect(scope="user.info.basic"))["access_token"]
    assert error_of(await fields(poor, "open_id,username")) == (401, "scope_not_authorized")
    assert (await fields(poor, "open_id,avatar_url")).status_code == 200
