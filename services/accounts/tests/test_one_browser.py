"""Connecting bound to one browser: nobody links a victim's TikTok by passing an address on."""

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"


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
