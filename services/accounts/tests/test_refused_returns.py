"""A refused attempt to connect sends the browser back where it came from, with the reason's code and nothing secret."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"
BACK = "https://app.example.com/connected?x=1#top"


async def begin(accounts: Any, person: Any, **params: str) -> dict[str, str]:
    answer = await accounts.http.get(URL, params={"return_url": BACK} | params, headers=person.auth)
    assert answer.status_code == 200, answer.text
    started: dict[str, str] = answer.json()
    return started


def returned(answer: Any, state: str) -> str:
    """Check that the browser goes back with a refusal; returns its code."""
    assert answer.status_code == 302, answer.text
    target = urlsplit(answer.headers["location"])
    assert f"{target.scheme}://{target.netloc}{target.path}#{target.fragment}" == "https://app.example.com/connected#top"
    query = parse_qsl(target.query)
    assert [name for name, _ in query] == ["x", "success", "error"]
    assert dict(query)["success"] == "false"
    assert answer.headers["cache-control"] == "no-store"
    assert state not in f"{answer.text}{answer.headers}"
    code = dict(query)["error"]
    assert answer.json()["code"] == code
    return code


async def test_a_denial_goes_back(accounts: Any) -> None:
    person = await accounts.register()
    start = await begin(accounts, person)
    answer = await accounts.callback(**await accounts.decide(start["auth_url"], simulator_deny="1"))
    assert returned(answer, start["state"]) == "authorization_denied"
    again = await accounts.callback(state=start["state"], error="access_denied")
    assert (again.status_code, again.json()["code"]) == (400, "invalid_state"), "used up: it is not known any more"
    assert "location" not in again.headers


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, "code_missing"),
        ({"code": "made-up-code"}, "code_expired"),
        ({"code": "made-up-code", "scopes": "user.info.basic"}, "missing_scope"),
        ({"error": "server_error", "code": "made-up-code"}, "authorization_failed"),
    ],
)
async def test_every_refusal_goes_back_without_the_code(accounts: Any, answer: dict[str, str], code: str) -> None:
    start = await begin(accounts, await accounts.register())
    refused = await accounts.callback(state=start["state"], **answer)
    assert returned(refused, start["state"]) == code
    assert "made-up-code" not in f"{refused.text}{refused.headers}"


async def test_an_account_of_another_user_goes_back(accounts: Any) -> None:
    await accounts.connect(await accounts.register())
    start = await begin(accounts, await accounts.register())
    answer = await accounts.callback(**await accounts.decide(start["auth_url"]))
    assert returned(answer, start["state"]) == "account_owned_by_another_user"


async def test_a_grant_that_is_not_stored_goes_back_and_is_ended(
    accounts: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.connecting.AGAIN_SECONDS", 0.0)
    person = await accounts.register()
    start = await begin(accounts, person)
    redirect = await accounts.decide(start["auth_url"])
    async with accounts.busy_once("INSERT ON account_tokens", "40P01"):
        assert returned(await accounts.callback(**redirect), start["state"]) == "grant_not_stored"
        creator = accounts.simulator.state.creators.named("demo_public")
        assert not accounts.simulator.state.grants.connected(creator.open_id)
        await accounts.connect(person)
    assert (await events.of("accounts.connect.failed.v1"))[0].data["reason"] == "grant_not_stored"


async def test_another_browser_goes_back_and_loses_the_cookie(accounts: Any) -> None:
    start = await begin(accounts, await accounts.register(), browser="true")
    accounts.http.cookies.clear()
    answer = await accounts.callback(**await accounts.decide(start["auth_url"]))
    assert returned(answer, start["state"]) == "other_browser"
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_an_attempt_that_is_too_old_is_a_problem(accounts: Any) -> None:
    start = await begin(accounts, await accounts.register())
    redirect = await accounts.decide(start["auth_url"])
    await accounts.execute("UPDATE oauth_states SET expires_at = now()")
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_state")
    assert "location" not in answer.headers


async def test_without_a_return_address_it_stays_a_problem(accounts: Any) -> None:
    person = await accounts.register()
    answer = await accounts.callback(**await accounts.consent(person, simulator_deny="1"))
    assert (answer.status_code, answer.json()["code"]) == (400, "authorization_denied")
    assert answer.headers["content-type"] == "application/problem+json"
