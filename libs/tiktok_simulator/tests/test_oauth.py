import hashlib
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tiktok_simulator.driver import REDIRECT_URI, Driver
from tiktok_simulator.oauth_rules import is_registered, verifier_matches
from tiktok_simulator.settings import Settings
from tiktok_simulator.testing import running_simulator


def callback(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 302
    location = answer.headers["location"]
    assert location.startswith(f"{REDIRECT_URI}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("client_key", "other"),
        ("client_key", None),
        ("redirect_uri", REDIRECT_URI + "/"),
        ("redirect_uri", None),
        ("response_type", "token"),
        ("scope", "user.info.basic video.publish"),
        ("scope", "research.data"),
        ("scope", ""),
        ("state", None),
        ("code_challenge", None),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge", "A" * 64),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", None),
        ("disable_auto_auth", "yes"),
        ("simulator_creator", "nobody"),
    ],
)
async def test_a_wrong_request_gets_the_error_page(driver: Driver, parameter: str, value: str | None) -> None:
    answer = await driver.authorize(**{"simulator_creator": "demo_public", parameter: value})
    assert answer.status_code == 400
    assert f"<code>{parameter}</code>" in answer.text
    assert "location" not in answer.headers


async def test_consent_page_and_its_buttons(driver: Driver) -> None:
    page = await driver.authorize(state='<"&>')
    assert page.status_code == 200
    for text in ("demo_public", "demo_private", "demo_capped", "video.publish", "Deny", "&lt;&quot;&amp;&gt;"):
        assert text in page.text
    url = f"{driver.base_url}/v2/auth/authorize/"
    form: dict[str, str | list[str]] = {**driver.authorize_query()}
    denied = callback(await driver.http.post(url, data={**form, "deny": "1"}))
    assert denied["error"] == "access_denied"
    assert denied["state"] == "a-state"
    assert "code" not in denied
    approved = callback(
        await driver.http.post(
            url, data={**form, "simulator_creator": "demo_private", "ticked": ["video.upload", "research.data"]}
        )
    )
    assert approved["scopes"] == "user.info.basic,video.upload"
    tokens = (await driver.exchange(approved["code"])).json()
    assert tokens["scope"] == "user.info.basic,video.upload"
    broken = await driver.http.post(url, data={**form, "client_key": "x"})
    assert broken.status_code == 400


async def test_approval_and_denial_by_query(driver: Driver) -> None:
    approved = callback(
        await driver.authorize(simulator_creator="demo_public", scope="video.publish", simulator_scopes="", state="Ä b")
    )
    assert approved["state"] == "Ä b"
    assert approved["scopes"] == "user.info.basic"
    assert "*" in approved["code"]
    assert "!" in approved["code"]
    assert callback(await driver.authorize(simulator_deny="1"))["error"] == "access_denied"
    outsider = callback(await driver.authorize(simulator_deny="non_sandbox_target"))
    assert (outsider["error"], outsider["error_type"]) == ("access_denied", "non_sandbox_target")


async def test_tokens(driver: Driver) -> None:
    tokens = await driver.connect()
    assert tokens["token_type"] == "Bearer"
    assert tokens["access_token"].startswith("act.")
    assert tokens["refresh_token"].startswith("rft.")
    assert tokens["open_id"][0] in "-_"
    assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (7200, 15552000)


async def test_a_code_is_good_once_and_for_its_owner_only(driver: Driver) -> None:
    code = await driver.code()
    assert "access_token" in (await driver.exchange(code)).json()
    again = await driver.exchange(code)
    assert again.status_code == 200
    assert again.json()["error"] == "invalid_grant"
    assert again.json()["error_description"] == "Authorization code is expired."
    assert again.json()["log_id"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"redirect_uri": REDIRECT_URI + "/"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"client_key": "x"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"client_secret": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
)
async def test_refused_exchanges(driver: Driver, changes: dict[str, str | None], error: str) -> None:
    answer = await driver.exchange(await driver.code(), **changes)
    assert answer.json()["error"] == error
    assert "access_token" not in answer.json()


async def test_a_failed_exchange_burns_the_code(driver: Driver) -> None:
    code = await driver.code()
    await driver.exchange(code, code_verifier="x" * 43)
    assert (await driver.exchange(code)).json()["error"] == "invalid_grant"


async def test_forms_only(driver: Driver) -> None:
    url = f"{driver.base_url}/v2/oauth/token/"
    for content, content_type in (
        (b'{"client_key":"x"}', "application/json"),
        (b"client_key=x&client_key=y", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"a=" + b"b" * 1_100_000, "application/x-www-form-urlencoded"),
    ):
        answer = await driver.http.post(url, content=content, headers={"content-type": content_type})
        assert answer.json()["error"] == "invalid_request"
        assert answer.json()["error_description"].startswith("The request parameters are malformed")


async def test_refresh_rotates_and_the_old_token_dies(driver: Driver) -> None:
    first = await driver.connect()
    second = (await driver.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["open_id"] == first["open_id"]
    assert second["scope"] == first["scope"]
    reused = await driver.refresh(first["refresh_token"])
    assert reused.json()["error"] == "invalid_grant"
    third = (await driver.refresh(second["refresh_token"])).json()
    assert "access_token" in third
    assert (await driver.call("/v2/post/publish/creator_info/query/", third["access_token"])).status_code == 200


async def test_revocation_ends_all(driver: Driver) -> None:
    tokens, other = await driver.connect(), await driver.connect("demo_private")
    waiting_code = await driver.code()
    assert (await driver.revoke(tokens["access_token"])).json() == {}
    assert (await driver.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await driver.exchange(waiting_code)).json()["error"] == "invalid_grant"
    dead = await driver.call("/v2/post/publish/creator_info/query/", tokens["access_token"])
    assert dead.status_code == 401
    assert (await driver.revoke(tokens["access_token"])).json()["error"] == "invalid_grant"
    assert (await driver.call("/v2/post/publish/creator_info/query/", other["access_token"])).status_code == 200


async def test_lifetimes_grace_and_error_status(http: httpx.AsyncClient) -> None:
    settings = Settings(
        port=0,
        access_token_seconds=10,
        refresh_token_seconds=100,
        refresh_grace_seconds=5,
        oauth_error_status=400,
    )
    async with running_simulator(settings) as simulator:
        driver = Driver(http, simulator.base_url)
        code = await driver.code()
        simulator.state.clock.advance(600)
        expired = await driver.exchange(code)
        assert (expired.status_code, expired.json()["error"]) == (400, "invalid_grant")
        tokens = await driver.connect()
        assert (tokens["expires_in"], tokens["refresh_expires_in"]) == (10, 100)
        simulator.state.clock.advance(8)
        path = "/v2/post/publish/creator_info/query/"
        assert (await driver.call(path, tokens["access_token"])).status_code == 200
        simulator.state.clock.advance(2)
        answer = await driver.call(path, tokens["access_token"])
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "access_token_invalid")
        rotated = (await driver.refresh(tokens["refresh_token"])).json()
        assert "access_token" in (await driver.refresh(tokens["refresh_token"])).json()
        simulator.state.clock.advance(5)
        assert (await driver.refresh(tokens["refresh_token"])).status_code == 400
        simulator.state.clock.advance(100)
        assert (await driver.refresh(rotated["refresh_token"])).json()["error"] == "invalid_grant"


VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
HEX = "13d31e961a1ad8ec2f16b10c4c982e0876a878ad6df144566ee1894acb70f9c3"
BASE64URL = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("platform", "lenient", "challenge", "verifier", "matches"),
    [
        ("desktop", False, HEX, VERIFIER, True),
        ("desktop", True, BASE64URL, VERIFIER, False),
        ("desktop", False, None, VERIFIER, False),
        ("desktop", False, HEX, VERIFIER + "x", False),
        ("desktop", False, hashlib.sha256(b"a b" * 20).hexdigest(), "a b" * 20, False),
        ("web", False, None, None, True),
        ("web", False, None, VERIFIER, True),
        ("web", False, HEX, VERIFIER, True),
        ("web", False, HEX, None, False),
        ("web", False, BASE64URL, VERIFIER, False),
        ("web", True, BASE64URL, VERIFIER, True),
    ],
)
def test_pkce(platform: str, lenient: bool, challenge: str | None, verifier: str | None, matches: bool) -> None:
    settings = Settings.model_validate({"platform": platform, "lenient_pkce": lenient})
    assert verifier_matches(verifier, challenge, settings) is matches


async def test_web_apps_need_no_challenge(http: httpx.AsyncClient) -> None:
    async with running_simulator(Settings(port=0, platform="web", lenient_pkce=True)) as simulator:
        driver = Driver(http, simulator.base_url)
        code = await driver.code(code_challenge=None, code_challenge_method=None)
        assert "access_token" in (await driver.exchange(code, code_verifier=None)).json()
        driver.verifier = VERIFIER
        assert "access_token" in (await driver.exchange(await driver.code(code_challenge=BASE64URL))).json()


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("http://127.0.0.1:5173/cb", True),
        ("http://127.0.0.1:1/cb", True),
        ("http://127.0.0.1/cb", False),
        ("http://127.0.0.1:5173/cb?x=1", False),
        ("http://127.0.0.1:5173/cb#x", False),
        ("http://evil.test:5173/cb", False),
        ("http://127.0.0.1:99999/cb", False),
        ("https://app.test/cb", True),
        ("https://app.test/cb/", False),
        ("https://app.test/" + "c" * 512, False),
    ],
)
def test_registered_addresses(uri: str, registered: bool) -> None:
    uris = ("http://127.0.0.1:*/cb", "http://evil.test:*/cb", "https://app.test/cb", "https://app.test/" + "c" * 512)
    assert is_registered(uri, Settings(redirect_uris=uris)) is registered


def test_a_web_app_has_no_wildcard_port() -> None:
    settings = Settings(redirect_uris=("http://127.0.0.1:*/cb",), platform="web")
    assert not is_registered("http://127.0.0.1:1/cb", settings)
