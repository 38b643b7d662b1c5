"""Where the browser goes after connecting: to allowed addresses and nowhere else."""

from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"


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
