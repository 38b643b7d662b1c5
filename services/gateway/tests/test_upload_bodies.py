"""Bodies of uploads at their edges: boundaries anywhere, names of any kind, lengths that lie; memory that does not grow."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from common.contracts.envelope import Envelope
from common.contracts.scheduler import RegisterMedia
from common.errors import Problem
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from common.testing.s3_server import new_bucket, s3_server_apart
from gateway.api.multipart import MultipartFile

pytestmark = pytest.mark.integration

UPLOAD = "/api/v1/media/upload"
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
GROWTH_LIMIT = 50_000_000


@pytest.fixture
def files(storage_folder: Path) -> Callable[[], list[str]]:
    def found() -> list[str]:
        return sorted(str(path.relative_to(storage_folder)) for path in storage_folder.rglob("*") if path.is_file())

    return found


@pytest.fixture
def registered(responder: Any) -> list[Envelope]:
    received: list[Envelope] = responder.received
    responder.script = lambda envelope: Reply(status=201, body={"id": envelope.data["media_id"]})
    return received


def disposition(parameters: bytes, content: bytes = MP4) -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="file"; ' + parameters + b"\r\n\r\n" + content + b"\r\n--B--\r\n"


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def parse(body: bytes, size: int, boundary: bytes = b"B") -> bytes:
    file = MultipartFile(in_pieces(body, size), boundary)
    await file.open()
    return b"".join([block async for block in file.blocks()])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 10**6])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\r",
        b"\r\n",
        b"\r\n-",
        b"\r\n--",
        b"--B",
        b"\r\r\n--A\r\n\r\n--\r\n-B\r\n\r\n\r",
        b"\r\n" * 50,
        b"\r\n\r\n--C--\r\n",
        bytes(range(256)) * 9,
    ],
)
async def test_content_comes_out_as_it_went_in_however_it_is_cut(content: bytes, size: int) -> None:
    assert await parse(b"--B\r\n" + HEAD + content + b"\r\n--B--\r\n", size) == content


async def test_content_that_is_almost_the_boundary() -> None:
    chance, boundary = random.Random(7), b"-ab-ab"
    for _ in range(300):
        content = bytes(chance.choices(b"\r\n-ab", k=chance.randrange(60)))
        if b"\r\n--" + boundary in b"\r\n" + content + b"\r\n--":
            continue
        body = b"--" + boundary + b"\r\n" + HEAD + content + b"\r\n--" + boundary + b"--\r\n"
        assert await parse(body, chance.randrange(1, 20), boundary) == content


async def test_a_preamble_and_an_endless_head() -> None:
    with pytest.raises(Problem, match="malformed_multipart"):
        await parse(b"--B\r\nX: " + b"y" * 200_000, 1000)
    with pytest.raises(Problem, match="incomplete_body"):
        await parse(b"--B\r\n" + HEAD + b"x\r\n--Bx", 10)
    with pytest.raises(Problem, match="incomplete_body"):
        await parse(b"--B\r\n" + HEAD + b"x", 10)


NAMES: dict[str, tuple[bytes, str]] = {
    "NUL": (b'filename="a\x00b.mp4"', "ab.mp4"),
    "bidi": ('filename="a\u202e4pm.exe"'.encode(), "a4pm.exe"),
    "invalid UTF-8": (b'filename="\xed\xa0\x80\xff.mp4"', "\ufffd\ufffd\ufffd\ufffd.mp4"),
    "empty": (b'filename=""', "upload"),
    "only what cannot be shown": (b'filename="\x01\x02"', "upload"),
    "long": (b'filename="' + b"x" * 3000 + b'"', "x" * 255),
    "long and wide": (('filename="' + "🎬" * 900 + '"').encode(), "🎬" * 255),
    "folders": (b'filename="../../etc/passwd"', "passwd"),
    "quotes": (b'filename="a\\"b.mp4"', 'a"b.mp4'),
    "percent": (b'filename="%00%2e%2e.mp4"', "%00%2e%2e.mp4"),
    "combining": ('filename="e\u0301.mp4"'.encode(), "e\u0301.mp4"),
}


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_any_kind(gateway: Any, responder: Any, registered: Any, auth: Any, name: str) -> None:
    await responder.bind(RegisterMedia.KEY)
    raw, expected = NAMES[name]
    body = disposition(raw)
    answer = await gateway.post(UPLOAD, content=body, headers={**auth, "Content-Type": "multipart/form-data; boundary=B"})
    assert answer.status_code == 201, answer.text
    assert registered[0].data["filename"] == expected
    assert all(character.isprintable() for character in expected)
    assert len(quote(expected)) < 4096


@pytest.mark.parametrize(
    ("parameters", "status"),
    [(b'filename="' + b"x" * 10_000 + b'"', 400), (b"", 422), (b"x=y", 422)],
)
async def test_names_beyond_all_bounds_or_missing(
    gateway: Any, responder: Any, auth: Any, files: Any, parameters: bytes, status: int
) -> None:
    await responder.bind(RegisterMedia.KEY)
    headers = {**auth, "Content-Type": "multipart/form-data; boundary=B"}
    answer = await gateway.post(UPLOAD, content=disposition(parameters), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (responder.received, files()) == ([], [])


async def test_chunked_without_a_length(gateway: Any, responder: Any, registered: Any, auth: Any) -> None:
    await responder.bind(RegisterMedia.KEY)
    body = disposition(b'filename="a"', MP4 * 300)
    headers = {**auth, "Content-Type": "multipart/form-data; boundary=B"}
    answer = await gateway.post(UPLOAD, content=in_pieces(body, 70_001), headers=headers)
    assert answer.status_code == 201, answer.text
    assert registered[0].data["sha256"] == hashlib.sha256(MP4 * 300).hexdigest()


async def raw(gateway: httpx.AsyncClient, head: str, body: bytes, *, close: bool = False) -> bytes:
    """Send what no honest client would, and return the status line."""
    reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    writer.write(f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n\r\n".encode() + body)
    if close:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.readline(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("lengths", "close", "expected"),
    [
        ("Content-Length: -1", False, b"400"),
        ("Content-Length: x", False, b"400"),
        ("Content-Length: 10, 20", False, b"400"),
        ("Content-Length: 99999999999999999999999", False, b"4"),
        ("Content-Length: 10\r\nContent-Length: 20", False, b"400"),
        ("Content-Length: 20", False, b"400"),
        ("Content-Length: 0", False, b"400"),
        ("Content-Length: 100000", True, b""),
        ("Transfer-Encoding: chunked", False, b"400"),
    ],
)
async def test_lengths_that_lie(gateway: Any, auth: Any, files: Any, lengths: str, close: bool, expected: bytes) -> None:
    head = f"Authorization: {auth['Authorization']}\r\nContent-Type: multipart/form-data; boundary=B\r\n{lengths}"
    line = await raw(gateway, head, disposition(b'filename="a"'), close=close)
    status = line.split(b" ")[1] if line else b""
    assert status.startswith(expected)
    assert not status.startswith(b"5")
    await eventually(lambda: files() == [])
    assert (await gateway.get("/healthz")).status_code == 200


async def growth(client: httpx.AsyncClient, auth: dict[str, str], blocks: int) -> int:
    """Upload so many blocks of 1 MB, made as they are sent, and return by how many bytes this process grew at most meanwhile."""
    block, process = MP4[:12] + bytes(1_000_000 - 12), psutil.Process()
    peak: list[int] = []

    async def body(count: int) -> AsyncIterator[bytes]:
        yield b"--B\r\n" + HEAD
        for _ in range(count):
            yield block
            peak.append(process.memory_info().rss)
        yield b"\r\n--B--\r\n"

    headers = {**auth, "Content-Type": "multipart/form-data; boundary=B"}
    # What a first upload needs once is no growth.
    await client.post(UPLOAD, content=body(20), headers=headers)
    before = process.memory_info().rss
    peak.clear()
    answer = await client.post(UPLOAD, content=body(blocks), headers=headers, timeout=120)
    assert answer.status_code == 201, answer.text
    return max(peak) - before


async def test_half_a_gigabyte_takes_no_memory(
    gateway: Any, responder: Any, registered: Any, auth: Any, storage_folder: Path
) -> None:
    """The largest upload there may be, in this very process; what it costs to send it counts as well."""
    await responder.bind(RegisterMedia.KEY)
    assert await growth(gateway, auth, 500) < GROWTH_LIMIT
    assert registered[-1].data["size_bytes"] == 500_000_000
    (storage_folder / registered[-1].data["storage_key"]).unlink()


async def test_a_large_upload_into_a_bucket_takes_no_memory(
    run_gateway: Any, responder: Any, registered: Any, auth: Any
) -> None:
    """60 parts of a bucket. Its server keeps what it is sent, so it runs in a process of its own; it is slow, so it gets less."""
    await responder.bind(RegisterMedia.KEY)
    with s3_server_apart() as endpoint:
        bucket = new_bucket(endpoint)
        async with run_gateway(storage_url=bucket.url) as client:
            assert await growth(client, auth, 300) < GROWTH_LIMIT
            assert registered[-1].data["size_bytes"] == 300_000_000
            assert bucket.unfinished() == []
