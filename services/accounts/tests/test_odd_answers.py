"""Connecting while TikTok answers what does not fit."""

from typing import Any
from uuid import UUID

import httpx
import pytest

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"
TOKEN = "/v2/oauth/token/"


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
