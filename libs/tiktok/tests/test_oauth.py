import hashlib
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from tiktok.errors import GrantInvalid, TikTokRefused, TikTokUnavailable
from tiktok.oauth import OAuthClient, authorize_url, pkce_challenge, pkce_pair, split_scopes

ANSWER = {
    "access_token": "act.secret-access",
    "expires_in": 7200,
    "open_id": "-000YSS_OTWK",
    "refresh_expires_in": 15552000,
    "refresh_token": "rft.secret-refresh",
    "scope": "user.info.basic,video.publish",
    "token_type": "Bearer",
    "something_new": {"a": 1},
}


def client(answer: object, status: int = 200, seen: list[httpx.Request] | None = None) -> OAuthClient:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, bytes):
            return httpx.Response(status, content=answer)
        return httpx.Response(status, json=answer)

    http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    return OAuthClient(http, "https://api.test/", "key", SecretStr("app-secret"))


def test_challenge_is_hex() -> None:
    assert (
        pkce_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        == "13d31e961a1ad8ec2f16b10c4c982e0876a878ad6df144566ee1894acb70f9c3"
    )


def test_pairs_are_fresh_and_match() -> None:
    first, second = pkce_pair(), pkce_pair()
    verifier = first.verifier.get_secret_value()
    assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", verifier)
    assert first.challenge == hashlib.sha256(verifier.encode()).hexdigest()
    assert verifier != second.verifier.get_secret_value()
    assert verifier not in repr(first)


def test_authorize_url() -> None:
    url = authorize_url(
        "https://www.tiktok.com/v2/auth/authorize/",
        client_key="key",
        redirect_uri="http://127.0.0.1:8400/callback",
        scopes=["user.info.basic", "video.publish"],
        state="a b",
        code_challenge="ff",
        extra={"simulator_creator": "demo_public"},
    )
    query = parse_qs(urlsplit(url).query)
    assert query == {
        "client_key": ["key"],
        "response_type": ["code"],
        "scope": ["user.info.basic,video.publish"],
        "redirect_uri": ["http://127.0.0.1:8400/callback"],
        "state": ["a b"],
        "disable_auto_auth": ["1"],
        "code_challenge": ["ff"],
        "code_challenge_method": ["S256"],
        "simulator_creator": ["demo_public"],
    }


def test_authorize_url_without_challenge() -> None:
    url = authorize_url(
        "https://host/a?x=1",
        client_key="k",
        redirect_uri="r",
        scopes=[],
        state="s",
        code_challenge=None,
        disable_auto_auth=False,
    )
    assert url.startswith("https://host/a?x=1&client_key=k")
    assert "code_challenge" not in url
    assert "disable_auto_auth=0" in url


def test_scopes_are_split() -> None:
    assert split_scopes(" user.info.basic, video.publish,,") == ("user.info.basic", "video.publish")


async def test_exchange_sends_a_form_and_reads_the_grant() -> None:
    seen: list[httpx.Request] = []
    grant = await client(ANSWER, seen=seen).exchange_code("co*de!", redirect_uri="http://r", code_verifier=SecretStr("v" * 43))
    assert str(seen[0].url) == "https://api.test/v2/oauth/token/"
    assert seen[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(seen[0].content.decode()) == {
        "client_key": ["key"],
        "client_secret": ["app-secret"],
        "grant_type": ["authorization_code"],
        "code": ["co*de!"],
        "redirect_uri": ["http://r"],
        "code_verifier": ["v" * 43],
    }
    assert grant.access_token.get_secret_value() == "act.secret-access"
    assert grant.scopes == ("user.info.basic", "video.publish")
    assert (grant.expires_in, grant.refresh_expires_in, grant.open_id) == (7200, 15552000, "-000YSS_OTWK")
    assert "secret-" not in repr(grant) + str(grant)


async def test_refresh_and_revoke() -> None:
    seen: list[httpx.Request] = []
    oauth = client(ANSWER, seen=seen)
    assert (await oauth.refresh(SecretStr("rft.old"))).refresh_token.get_secret_value() == "rft.secret-refresh"
    form = parse_qs(seen[0].content.decode())
    assert (form["grant_type"], form["refresh_token"]) == (["refresh_token"], ["rft.old"])
    for empty in ({}, b"", b" \n"):
        await client(empty, seen=seen).revoke(SecretStr("act.x"))
    assert seen[-1].url.path == "/v2/oauth/revoke/"
    assert parse_qs(seen[-1].content.decode())["token"] == ["act.x"]


@pytest.mark.parametrize("status", [200, 400, 401])
async def test_a_string_error_is_a_failure_under_any_status(status: int) -> None:
    answer = {"error": "invalid_grant", "error_description": "Authorization code is expired.", "log_id": "L1"}
    with pytest.raises(GrantInvalid) as caught:
        await client(answer, status).refresh(SecretStr("rft.canary"))
    error = caught.value
    assert (error.code, error.http_status, error.log_id) == ("invalid_grant", status, "L1")
    assert error.message == "Authorization code is expired."
    assert not error.retryable
    assert "canary" not in repr(error) + str(error)


@pytest.mark.parametrize("code", ["temporarily_unavailable", "server_error"])
async def test_passing_faults_are_retryable(code: str) -> None:
    with pytest.raises(TikTokUnavailable) as caught:
        await client({"error": code}).refresh(SecretStr("r"))
    assert caught.value.sent
    assert caught.value.retryable


async def test_other_refusals() -> None:
    with pytest.raises(TikTokRefused) as caught:
        await client({"error": "invalid_client"}, 401).refresh(SecretStr("r"))
    assert type(caught.value) is TikTokRefused
    assert "TIKTOK_CLIENT_KEY" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"<html>", 200, "malformed_answer"),
        (b"<html>", 502, "http_502"),
        ({"message": "x"}, 500, "http_500"),
        ({k: v for k, v in ANSWER.items() if k != "refresh_token"}, 200, "malformed_answer"),
        ({"error": {"code": "internal_error"}}, 500, "internal_error"),
    ],
)
async def test_no_verdict(answer: object, status: int, code: str) -> None:
    with pytest.raises(TikTokUnavailable) as caught:
        await client(answer, status).refresh(SecretStr("r"))
    assert (caught.value.code, caught.value.sent) == (code, True)


async def test_a_malformed_grant_does_not_show_its_tokens() -> None:
    with pytest.raises(TikTokUnavailable) as caught:
        await client({**ANSWER, "expires_in": "soon"}).refresh(SecretStr("r"))
    assert "expires_in" in str(caught.value)
    assert "secret-" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_lives_stay_within_reason() -> None:
    grant = await client({**ANSWER, "expires_in": 10**18, "refresh_expires_in": -5}).refresh(SecretStr("r"))
    assert (grant.expires_in, grant.refresh_expires_in) == (315_360_000, 0)
    for field in ("access_token", "refresh_token"):
        with pytest.raises(TikTokUnavailable):
            await client({**ANSWER, field: ""}).refresh(SecretStr("r"))


@pytest.mark.parametrize("field", ["refresh_expires_in", "open_id"])
@pytest.mark.parametrize("absent", ["", None])
async def test_what_is_known_before_a_refresh_may_be_absent_from_its_answer(field: str, absent: str | None) -> None:
    answer = {**ANSWER, field: absent}
    grant = (await client(answer).refresh(SecretStr("r"))).completed(refresh_expires_in=9.5, open_id="known")
    wanted = {"refresh_expires_in": 15552000, "open_id": "-000YSS_OTWK"}
    wanted[field] = {"refresh_expires_in": 9, "open_id": "known"}[field]
    assert {"refresh_expires_in": grant.refresh_expires_in, "open_id": grant.open_id} == wanted
    assert "secret-" not in repr(grant) + str(grant)
    with pytest.raises(TikTokUnavailable, match=field):
        await client(answer).exchange_code("code", redirect_uri="http://r")


async def test_the_other_shape_is_understood_with_its_details() -> None:
    answer = {"error": {"code": "invalid_grant", "message": "Gone.", "log_id": "L7"}}
    with pytest.raises(GrantInvalid) as caught:
        await client(answer, 400).refresh(SecretStr("r"))
    assert (caught.value.message, caught.value.log_id) == ("Gone.", "L7")
    await client({"error": {"code": "ok"}}).revoke(SecretStr("act.x"))
