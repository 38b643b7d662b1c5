"""Bodies that no handler should see, and odd ones that are good."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from common.errors import Problem
from common.http.body_guard import DeclaredBody, Pace, read_checked

NESTED_TAGS = b'{"name": "x", "tags": ' + b'{"a":' * 63 + b"1" + b"}" * 63 + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"canary", 422, "invalid_request"),
        (b'{"name": "x"', 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'{"name": 5}', 422, "invalid_request"),
        (b'{"name": "x", "extra": "canary"}', 422, "invalid_request"),
        (b'{"name": "canary canary canary canary"}', 422, "invalid_request"),
        (b'{"name": "a\\u0000b"}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a\\u0000": 1}}', 422, "invalid_request"),
        (b'{"name": "a\x00b"}', 422, "invalid_request"),
        ('{"name": "x"}'.encode("utf-16"), 422, "invalid_request"),
        (b'{"name": "\\ud800"}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": ["\\udfff"]}}', 422, "invalid_request"),
        (b'{"name": "\xed\xa0\x80"}', 422, "invalid_request"),
        (b'{"name": "\xff"}', 422, "invalid_request"),
        (b'{"name": "x", "count": 123456789012345678901234567890}', 422, "invalid_request"),
        (b'{"name": "x", "count": ' + b"9" * 5000 + b"}", 422, "invalid_request"),
        (b'{"name": "x", "count": 1e400}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": 1e400}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": NaN}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": -Infinity}}', 422, "invalid_request"),
        (b'{"name": "x", "tags": ' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}", 422, "invalid_request"),
        (b'{"name": "x", "name": "x"}', 422, "invalid_request"),
        (b'{"name": "x", "n\\u0061me": "y"}', 422, "invalid_request"),
        (b'{"name": "x", "tags": {"a": {"b": 1, "b": 1}}}', 422, "invalid_request"),
        (b"[" * 200_000, 422, "invalid_request"),
        (b"[" * 100_000 + b"]" * 100_000, 422, "invalid_request"),
        (b'{"name": "' + b"x" * (1024 * 1024) + b'"}', 413, "body_too_large"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
async def test_bad_bodies(client: httpx.AsyncClient, body: bytes, status: int, code: str, assert_problem: Any) -> None:
    response = await client.post("/items", content=body, headers={"Content-Type": "application/json"})
    problem = assert_problem(response, status, code)
    if code == "invalid_request":
        assert problem["errors"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "\\ud83d\\ude00"}',
        '{"name": "😀 é"}'.encode(),
        b'{"name": "a\\\\u0000b"}',
        b'{"name": "NaN Infinity"}',
        b'{"name": "1234567890123456789"}',
        b'{"name": "x", "count": 9223372036854775807}',
        b'{"name": "x", "tags": {"a": 1e200, "b": 12345678901234567890.5}}',
        b'{"name": "x", "tags": {"name": {"name": 1}, "Name": {"name": 1}}}',
        NESTED_TAGS,
    ],
)
async def test_unusual_but_good_bodies(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/items", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", None, "rubbish"])
async def test_a_body_that_is_not_json(client: httpx.AsyncClient, content_type: str | None, assert_problem: Any) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await client.post("/items", content=b'{"name": "x"}', headers=headers)
    assert assert_problem(response, 415, "unsupported_media_type")["hint"]


async def test_a_streamed_body_is_capped_too(client: httpx.AsyncClient, assert_problem: Any) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    response = await client.post("/items", content=endless(), headers={"Content-Type": "application/json"})
    assert_problem(response, 413, "body_too_large")
    assert sent <= 1024 * 1024 + 2 * 65536


async def test_upload_paths_keep_their_own_limits(client: httpx.AsyncClient) -> None:
    response = await client.post("/raw/upload", content=b"\x00" * (3 * 1024 * 1024))
    assert response.json() == {"size": 3 * 1024 * 1024}


async def test_a_slow_body_is_given_up(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, assert_problem: Any
) -> None:
    monkeypatch.setattr("common.http.body_guard.BODY_TIMEOUT_SECONDS", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert_problem(await client.post("/items", content=stalled()), 408, "body_timeout")


JSON_BODY = DeclaredBody(None, is_json=True, is_there=True)


async def test_a_body_that_arrives_fast_enough_may_take_longer() -> None:
    """Each piece buys time; who sends nothing more is given up."""
    for piece, pause in ((b"[" + b" " * 1_000, 0.2), (b"[", 60.0)):
        pieces = [piece, b"]"]

        async def receive(pieces: list[bytes] = pieces, pause: float = pause) -> Any:
            if len(pieces) == 1:
                await asyncio.sleep(pause)
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        pace = Pace(seconds=0.1, bytes_per_second=10)
        if pause < 60:
            assert await read_checked(JSON_BODY, receive, limit_bytes=2_000, pace=pace) == piece + b"]"
        else:
            with pytest.raises(Problem, match="body_timeout"):
                await read_checked(JSON_BODY, receive, limit_bytes=2_000, pace=pace)


async def test_two_content_types_are_refused(client: httpx.AsyncClient, assert_problem: Any) -> None:
    """Who guards the body would believe one, and who reads it the other."""
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    response = await client.post("/items", content=b'{"name": 99999999999999999999}', headers=headers)
    assert_problem(response, 400, "repeated_header")
