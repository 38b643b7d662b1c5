"""Nothing that the library shows, raises or logs holds a token, a code, a verifier, the app's secret or a signed address."""

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tiktok.chunks import plan_chunks
from tiktok.display import UserClient
from tiktok.errors import TikTokError
from tiktok.models import FileSource, PostInfo
from tiktok.oauth import OAuthClient, pkce_pair
from tiktok.posting import PostingClient
from tiktok.upload import put_chunk
from tiktok.videos import VideoClient

SECRET = SecretStr("canary-secret")
Respond = Callable[[httpx.Request], httpx.Response]


async def body() -> AsyncIterator[bytes]:
    yield b"xy"


def calls(http: httpx.AsyncClient) -> dict[str, Callable[[], Awaitable[Any]]]:
    oauth = OAuthClient(http, "https://api.test", "key", SECRET)
    posting = PostingClient(http, "https://api.test")
    source = FileSource(plan_chunks(1000))
    return {
        "exchange": lambda: oauth.exchange_code("canary-code", redirect_uri="r", code_verifier=SECRET),
        "refresh": lambda: oauth.refresh(SECRET),
        "revoke": lambda: oauth.revoke(SECRET),
        "user": lambda: UserClient(http, "https://api.test").user_info(SECRET, []),
        "videos": lambda: VideoClient(http, "https://api.test").list_videos(SECRET),
        "creator": lambda: posting.creator_info(SECRET),
        "init": lambda: posting.init_video(SECRET, PostInfo(privacy_level="SELF_ONLY"), source),
        "chunk": lambda: put_chunk(http, "https://up.test/?upload_token=canary-upload", 0, 1, 2, body(), "video/mp4"),
    }


def broken(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("lost")


ANSWERS: dict[str, Respond] = {
    "lost": broken,
    "no json": lambda _: httpx.Response(200, content=b"<html>"),
    "500": lambda _: httpx.Response(500, content=b""),
    "refused": lambda _: httpx.Response(401, json={"error": {"code": "access_token_invalid", "message": "no"}}),
    "refused flat": lambda _: httpx.Response(200, json={"error": "invalid_grant", "error_description": "no"}),
    "malformed": lambda _: httpx.Response(
        200, json={"access_token": "canary-a", "refresh_token": "canary-r", "expires_in": "x", "error": {"code": "ok"}}
    ),
    "right": lambda _: httpx.Response(
        200,
        json={
            "access_token": "canary-a",
            "refresh_token": "canary-r",
            "expires_in": 1,
            "refresh_expires_in": 1,
            "open_id": "o",
            "error": "",
        },
    ),
    "right envelope": lambda _: httpx.Response(
        200, json={"data": {"publish_id": "p", "upload_url": "https://u/?t=canary"}, "error": {"code": "ok"}}
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_call_shows_a_secret(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    told: list[bool] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(ANSWERS[answer])) as http:
        for call in calls(http).values():
            try:
                shown.append(repr(await call()))
            except TikTokError as error:
                shown += [repr(error), str(error), repr(vars(error)), "".join(traceback.format_exception(error))]
                told.append(bool(error.message and error.hint))
    assert len(shown) >= 8
    assert all(told)
    assert "canary" not in "".join(shown) + caplog.text


def test_nor_do_the_objects() -> None:
    http = httpx.AsyncClient()
    pair = pkce_pair()
    assert pair.verifier.get_secret_value() not in repr(pair)
    assert "canary" not in repr(OAuthClient(http, "https://api.test", "key", SECRET))
