import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from tiktok.errors import TikTokUnavailable
from tiktok.upload import BodyLengthMismatch, ChunkOutcome, put_chunk

URL = "https://upload.test/video/?upload_id=1&upload_token=canary"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def http_of(status: int, seen: list[httpx.Request] | None = None, **headers: str) -> httpx.AsyncClient:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return httpx.AsyncClient(transport=httpx.MockTransport(respond))


async def test_headers_and_bytes() -> None:
    seen: list[httpx.Request] = []
    http = http_of(206, seen, content_range="bytes 0-15/20")
    result = await put_chunk(http, URL, 10, 15, 20, pieces(b"abc", b"def"), "video/mp4")
    request = seen[0]
    assert str(request.url) == URL
    assert request.method == "PUT"
    assert request.headers["content-range"] == "bytes 10-15/20"
    assert request.headers["content-length"] == "6"
    assert request.headers["content-type"] == "video/mp4"
    assert "transfer-encoding" not in request.headers
    assert "authorization" not in request.headers
    assert request.content == b"abcdef"
    assert (result.outcome, result.http_status, result.reported_end) == (ChunkOutcome.STORED, 206, 15)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (201, ChunkOutcome.COMPLETE),
        (206, ChunkOutcome.STORED),
        (200, ChunkOutcome.UNCLEAR),
        (204, ChunkOutcome.UNCLEAR),
        (307, ChunkOutcome.UNCLEAR),
        (308, ChunkOutcome.UNCLEAR),
        (400, ChunkOutcome.REJECTED),
        (403, ChunkOutcome.EXPIRED),
        (404, ChunkOutcome.UNKNOWN_UPLOAD),
        (408, ChunkOutcome.UNAVAILABLE),
        (416, ChunkOutcome.OUT_OF_STEP),
        (425, ChunkOutcome.UNAVAILABLE),
        (429, ChunkOutcome.UNAVAILABLE),
        (500, ChunkOutcome.UNAVAILABLE),
        (503, ChunkOutcome.UNAVAILABLE),
    ],
)
async def test_outcomes(status: int, outcome: ChunkOutcome) -> None:
    result = await put_chunk(http_of(status, content_range="nonsense"), URL, 0, 0, 1, pieces(b"x"), "video/webm")
    assert result.outcome is outcome
    assert result.reported_end is None


@pytest.mark.parametrize("parts", [(b"abc",), (b"abc", b"defg"), ()])
async def test_a_body_of_another_length_is_broken_off(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(BodyLengthMismatch):
        await put_chunk(http_of(206), URL, 0, 5, 6, pieces(*parts), "video/mp4")


async def test_arguments_that_make_no_sense() -> None:
    for first, last, total in ((0, 1, 1), (2, 1, 3), (-1, 0, 3)):
        with pytest.raises(ValueError, match="range"):
            await put_chunk(http_of(206), URL, first, last, total, pieces(), "video/mp4")
    with pytest.raises(ValueError, match="image/png"):
        await put_chunk(http_of(206), URL, 0, 0, 1, pieces(b"x"), "image/png")


async def test_the_signature_of_the_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await put_chunk(http_of(206), URL, 0, 0, 1, pieces(b"x"), "video/mp4")
        logging.getLogger("httpx").info("%(named)s stays", {"named": "what names its values"})
    assert "https://upload.test/video/" in caplog.text
    assert "what names its values stays" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("storage"), FileNotFoundError("storage")])
async def test_errors_of_the_source_are_not_taken_for_tiktoks(error: Exception) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise error

    with pytest.raises(type(error), match="storage"):
        await put_chunk(http_of(206), URL, 0, 5, 6, broken(), "video/mp4")


async def test_a_transport_that_repeats_the_request_by_itself() -> None:
    class Repeating(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for _ in request.stream:
                break
            return httpx.Response(206, content=[piece async for piece in request.stream])

    async with httpx.AsyncClient(transport=Repeating()) as http:
        with pytest.raises(TikTokUnavailable) as caught:
            await put_chunk(http, URL, 0, 5, 6, pieces(b"abc", b"def"), "video/mp4")
    assert caught.value.sent


async def test_no_answer() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone", request=request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    with pytest.raises(TikTokUnavailable) as caught:
        await put_chunk(http, URL, 0, 0, 1, pieces(b"x"), "video/mp4")
    assert caught.value.sent
    assert "canary" not in str(caught.value)
