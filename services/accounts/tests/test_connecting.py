"""Connecting a TikTok account: state, PKCE, exchange, profile; every refusal by its own name."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"
TOKEN = "/v2/oauth/token/"
USER = "/v2/user/info/"


async def test_the_address_carries_what_tiktok_asks_for(accounts: Any) -> None:
    person = await accounts.register()
    answer = (await accounts.http.get(URL, headers=person.auth)).json()
    assert set(answer) == {"auth_url", "state"}
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer["auth_url"]).query).items()}
    assert query["state"] == answer["state"]
    assert query["disable_auto_auth"] == "1"
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 64
    assert "video.publish" in query["scope"].split(",")
    stored = await accounts.scalar("SELECT row_to_json(oauth_states)::text FROM oauth_states")
    assert answer["state"] not in stored


async def test_a_creator_is_connected_with_profile_and_sealed_tokens(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    creator = accounts.simulator.state.creators.named("demo_public")
    assert shown["tiktok_user_id"] == creator.open_id
    assert (shown["username"], shown["display_name"]) == ("demo_public", creator.display_name)
    assert (shown["status"], shown["follower_count"]) == ("active", creator.follower_count)
    assert "video.publish" in shown["scopes"]
    assert shown["last_synced_at"] is not None
    token = (await accounts.access_token(account_id)).json()["access_token"]
    stored = await accounts.scalar("SELECT row_to_json(account_tokens)::text FROM account_tokens")
    assert token not in stored
    connected = (await events.of("accounts.account.connected.v1"))[0]
    assert (connected.subject, connected.sequence, connected.userid) == (str(account_id), "0000000001", person.user_id)
    assert connected.data["reconnected"] is False
    assert connected.data["tiktok_user_id"] == creator.open_id


async def test_reconnecting_keeps_the_id_also_after_disconnecting(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    first = (await accounts.access_token(account_id)).json()["access_token"]
    assert await accounts.connect(person) == account_id
    assert (await accounts.access_token(account_id)).json()["access_token"] != first
    await accounts.execute("UPDATE tiktok_accounts SET disconnected_at = now(), status = 'expired'")
    assert (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).status_code == 404
    assert await accounts.connect(person) == account_id
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert shown["status"] == "active"
    told = await events.of("accounts.account.connected.v1", 3)
    assert sorted(event.sequence or "" for event in told) == ["0000000001", "0000000002", "0000000003"]
    assert sorted(event.data["reconnected"] for event in told) == [False, True, True]


async def test_a_paused_account_stays_paused_and_an_expired_one_comes_back(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    for before, after in (("expired", "active"), ("inactive", "inactive")):
        await accounts.execute(f"UPDATE tiktok_accounts SET status = '{before}', last_error = 'x'")
        await accounts.connect(person)
        shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
        assert (shown["status"], shown["last_error"]) == (after, None)


async def test_another_users_account_is_refused_until_it_is_free(accounts: Any) -> None:
    owner, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(owner)
    refused = await accounts.callback(**await accounts.consent(other))
    assert (refused.status_code, refused.json()["code"]) == (409, "account_owned_by_another_user")
    await accounts.execute("UPDATE tiktok_accounts SET disconnected_at = now()")
    assert await accounts.connect(other) != account_id
    refused = await accounts.callback(**await accounts.consent(owner))
    assert (refused.status_code, refused.json()["code"]) == (409, "account_owned_by_another_user")


async def test_of_two_users_at_once_one_gets_the_account(accounts: Any) -> None:
    people = [await accounts.register() for _ in range(6)]
    redirects = [await accounts.consent(person) for person in people]
    answers = await asyncio.gather(*(accounts.callback(**redirect) for redirect in redirects))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 1


async def test_a_state_is_good_once_even_for_many_at_once(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    answers = await asyncio.gather(*(accounts.callback(**redirect) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"invalid_state"}


async def test_unknown_missing_and_expired_states_are_refused(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    for state in ("", "guessed", "x" * 2000):
        answer = await accounts.callback(code="whatever", state=state)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_state")
    assert (await accounts.callback(code="c", state="x" * 5000)).status_code == 422
    await accounts.execute("UPDATE oauth_states SET expires_at = now() - interval '1 second'")
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_state")
    assert "again" in answer.json()["hint"]


async def test_a_denied_consent_uses_the_state_up(accounts: Any) -> None:
    person = await accounts.register()
    denied = await accounts.consent(person, simulator_deny="1")
    answer = await accounts.callback(**denied)
    assert (answer.status_code, answer.json()["code"]) == (400, "authorization_denied")
    assert (await accounts.callback(**denied)).json()["code"] == "invalid_state"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"error": "access_denied", "error_type": "non_sandbox_target"}, "authorization_denied"),
        ({"error": "server_error", "error_description": "x"}, "authorization_failed"),
        ({}, "code_missing"),
    ],
)
async def test_other_refusals_have_names_of_their_own(accounts: Any, params: dict[str, str], code: str) -> None:
    person = await accounts.register()
    state = (await accounts.http.get(URL, headers=person.auth)).json()["state"]
    answer = await accounts.callback(state=state, **params)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_right_left_unticked_is_named(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.list")
    for hide in (False, True):
        redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.list")
        if hide:
            del redirect["scopes"]
        answer = await accounts.callback(**redirect)
        assert (answer.status_code, answer.json()["code"]) == (400, "missing_scope")
        assert answer.json()["missing_scopes"] == ["video.publish"]
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 0


async def test_only_what_the_scopes_show_is_read(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person, simulator_scopes="user.info.basic,video.publish")
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert (shown["username"], shown["follower_count"]) == (shown["display_name"], 0)


async def test_a_used_or_wrong_code_is_expired(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person) | {"code": "act.some-other*code!"}
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (400, "code_expired")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"endpoint": TOKEN, "status": 503}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "drop": True}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "lost_answer": True}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "code": "invalid_client"}, 502, "tiktok_refused"),
        ({"endpoint": TOKEN, "code": "rate_limit_exceeded"}, 503, "tiktok_rate_limit_exceeded"),
        ({"endpoint": USER, "status": 500, "times": 3}, 502, "tiktok_unavailable"),
        ({"endpoint": USER, "code": "scope_not_authorized"}, 502, "tiktok_unavailable"),
    ],
)
async def test_tiktok_in_trouble_is_told_and_leaves_nothing_behind(
    accounts: Any, fault: dict[str, Any], status: int, code: str
) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    accounts.simulator.state.faults.add(Fault(**fault))
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 0
    await accounts.connect(person)


async def test_a_passing_failure_of_the_profile_is_repeated(accounts: Any) -> None:
    person = await accounts.register()
    accounts.simulator.state.faults.add(Fault(endpoint=USER, status=500, times=2))
    await accounts.connect(person)


def lying(token: dict[str, Any], user: dict[str, Any]) -> httpx.MockTransport:
    """TikTok that answers these two calls so."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN:
            return httpx.Response(200, json=token)
        return httpx.Response(200, json={"data": {"user": user}, "error": {"code": "ok", "message": "", "log_id": "1"}})

    return httpx.MockTransport(answer)


GRANT = {
    "access_token": "act.x",
    "refresh_token": "rft.x",
    "expires_in": 7200,
    "refresh_expires_in": 100,
    "open_id": "o1",
    "scope": "user.info.basic,video.publish",
}


@pytest.mark.parametrize(
    ("token", "user"),
    [
        (GRANT, {"open_id": "someone-else"}),
        (GRANT, {}),
        ({"access_token": "act.x"}, {"open_id": "o1"}),
        ({"error": {"code": "ok"}}, {"open_id": "o1"}),
    ],
)
async def test_answers_that_do_not_fit_are_not_believed(start: Any, token: dict[str, Any], user: dict[str, Any]) -> None:
    accounts = await start(tiktok_transport=lying(token, user))
    person = await accounts.register()
    state = (await accounts.http.get(URL, headers=person.auth)).json()["state"]
    answer = await accounts.callback(state=state, code="c")
    assert (answer.status_code, answer.json()["code"]) == (502, "tiktok_unavailable")


async def test_odd_but_fitting_answers_are_stored(start: Any) -> None:
    user = {"open_id": "o1", "display_name": "N\x00ul" + "x" * 500, "follower_count": 2**70, "likes_count": -5}
    forever = GRANT | {"expires_in": 10**18, "refresh_expires_in": -1}
    accounts = await start(tiktok_transport=lying(forever, user))
    person = await accounts.register()
    state = (await accounts.http.get(URL, headers=person.auth)).json()["state"]
    answer = await accounts.callback(state=state, code="c")
    assert answer.status_code == 200, answer.text
    account_id = UUID(answer.json()["account_id"])
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert shown["display_name"].startswith("Nulx")
    assert (shown["follower_count"], shown["likes_count"]) == (2**63 - 1, 0)


ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "//app.example.com/connected",
    "/connected",
    "https:evil.example",
    "https:///evil.example/connected",
    "javascript:alert(1)",
    "javascript://app.example.com/connected",
    "data:text/html,x",
    "x",
    "",
    "http://app.example.com/connected",
    "https://app.example.com/elsewhere",
    "https://app.example.com/connectedevil",
    "https://app.example.com/connected/../elsewhere",
    "https://app.example.com/connected/%2e%2e/elsewhere",
    "https://app.example.com/connected/.%2E/elsewhere",
    "https://app.example.com.evil.example/connected",
    "https://app.example.com@evil.example/connected",
    "https://user@app.example.com/connected",
    "https://user:secret@app.example.com/connected",
    "https://@app.example.com/connected",
    "https://evil.example#@app.example.com/connected",
    "https://evil.example\\@app.example.com/connected",
    "https://evil.example/\\app.example.com/connected",
    "https://app.example.com\\.evil.example/connected",
    "https://app.example.com%2eevil.example/connected",
    "https://app.example.com%40evil.example/connected",
    "https://app.example.com\uff0fevil.example/connected",
    "https://app\u3002example.com/connected",
    "https://app.example.com./connected",
    "https://app.example.com:8443/connected",
    "https://app.example.com:0/connected",
    "https://app.example.com:443:80/connected",
    "https://app.example.com:x/connected",
    "https://app.example.com:99999/connected",
    "https://[app.example.com]/connected",
    "https://app.example.com/connected\r\nSet-Cookie: a=b",
    "https://app.example.com/connected?x=\u65e5\u672c",
    " https://app.example.com/connected",
    "http://localhost/",
    "http://localhost:3000.evil.example/",
)


async def test_the_browser_goes_back_only_to_allowed_addresses(accounts: Any) -> None:
    person = await accounts.register()
    for bad in ELSEWHERE:
        answer = await accounts.http.get(URL, params={"return_url": bad}, headers=person.auth)
        assert (answer.status_code, answer.json()["code"]) == (422, "return_url_not_allowed"), bad
    good = "https://app.example.com/connected?x=1#top"
    start = (await accounts.http.get(URL, params={"return_url": good}, headers=person.auth)).json()
    answer = await accounts.callback(**await accounts.decide(start["auth_url"]))
    assert answer.status_code == 302
    account_id = answer.json()["account_id"]
    assert answer.json()["return_url"] == good
    wanted = f"https://app.example.com/connected?x=1&success=true&account_id={account_id}#top"
    assert answer.headers["location"] == wanted


@pytest.mark.parametrize(
    "good",
    [
        "https://app.example.com/connected",
        "HTTPS://APP.example.com:443/connected/deep?next=https%3A%2F%2Fevil.example#//evil.example",
        "http://localhost:3000",
        "http://localhost:3000/any/where?x=%E6%97%A5",
    ],
)
async def test_any_allowed_address_can_be_gone_back_to(accounts: Any, good: str) -> None:
    person = await accounts.register()
    start = (await accounts.http.get(URL, params={"return_url": good}, headers=person.auth)).json()
    answer = await accounts.callback(**await accounts.decide(start["auth_url"]))
    assert answer.status_code == 302
    wanted, got = urlsplit(good), urlsplit(answer.headers["location"])
    assert (got.scheme, got.netloc, got.path, got.fragment) == (wanted.scheme, wanted.netloc, wanted.path, wanted.fragment)
    assert got.query.startswith(wanted.query)


class Browser:
    """Keeps the cookies of one browser."""

    def __init__(self, accounts: Any) -> None:
        self.accounts = accounts
        self.cookies: dict[str, str] = {}
        self.last_set = ""

    async def begin(self, person: Any, **params: str) -> dict[str, Any]:
        answer = await self.accounts.http.get(URL, params={"browser": "true"} | params, headers=person.auth)
        assert answer.status_code == 200, answer.text
        self._keep(answer)
        started: dict[str, Any] = answer.json()
        return started

    async def come_back(self, redirect: dict[str, str]) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = self.accounts.gateway | ({"Cookie": cookie} if cookie else {})
        answer: httpx.Response = await self.accounts.http.get("/internal/tiktok/callback", params=redirect, headers=headers)
        self._keep(answer)
        return answer

    def _keep(self, answer: httpx.Response) -> None:
        self.accounts.http.cookies.clear()
        for self.last_set in answer.headers.get_list("set-cookie"):
            name, _, value = self.last_set.partition(";")[0].partition("=")
            if "max-age=0" in self.last_set.lower():
                self.cookies.pop(name)
            else:
                self.cookies[name] = value


async def test_an_attempt_bound_to_a_browser_ends_in_that_one(accounts: Any) -> None:
    person, browser = await accounts.register(), Browser(accounts)
    started = await browser.begin(person)
    assert {"HttpOnly", "SameSite=lax", "Max-Age=600", "Path=/api/v1/tiktok/callback"} <= set(browser.last_set.split("; "))
    assert "Secure" not in browser.last_set, "the redirect address of this test is plain http"
    other_tab = await browser.begin(person)
    assert len(browser.cookies) == 2, "a second tab spoils nothing"
    answer = await browser.come_back(await accounts.decide(started["auth_url"]))
    assert answer.status_code == 200, answer.text
    answer = await browser.come_back(await accounts.decide(other_tab["auth_url"]))
    assert answer.status_code == 200, answer.text
    assert browser.cookies == {}, "they are taken back"


async def test_nobody_connects_a_victims_tiktok_by_passing_on_an_address(accounts: Any) -> None:
    attacker, attackers, victims = await accounts.register(), Browser(accounts), Browser(accounts)
    for cookies in ({}, {"cuepost_connect_0000000000000000": "guess"}):
        started = await attackers.begin(attacker)
        redirect = await accounts.decide(started["auth_url"])
        victims.cookies = cookies
        refused = await victims.come_back(redirect)
        assert (refused.status_code, refused.json()["code"]) == (400, "other_browser")
        again = await attackers.come_back(redirect)
        assert (again.status_code, again.json()["code"]) == (400, "invalid_state"), "it was used up"
    started = await attackers.begin(attacker)
    unmarked = await accounts.decide(started["auth_url"]) | {"state": started["state"].removeprefix("b.")}
    assert (await victims.come_back(unmarked)).json()["code"] == "invalid_state", "the mark cannot be taken off"
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 0


async def test_an_operator_can_require_the_browser(start: Any) -> None:
    redirect_uri = "https://cuepost.example.com/api/v1/tiktok/callback"
    accounts = await start(oauth_require_browser=True, tiktok_redirect_uri=redirect_uri)
    person = await accounts.register()
    answer = await accounts.http.get(URL, params={"browser": "false"}, headers=person.auth)
    assert answer.json()["state"].startswith("b.")
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    refused = await accounts.callback(code="c", state=answer.json()["state"])
    assert (refused.status_code, refused.json()["code"]) == (400, "other_browser")
