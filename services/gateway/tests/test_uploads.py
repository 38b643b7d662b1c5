"""Uploads stream into storage and out again; what is refused or aborted leaves nothing behind."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from common.contracts.envelope import Envelope
from common.contracts.scheduler import RegisterMedia
from common.errors import FieldError, Problem
from common.messaging.reply import Reply
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration

UPLOAD = "/api/v1/media/upload"
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40
FIELD = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
JPEG = b"\xff\xd8\xff\xe0" + b"x" * 100


def registered(envelope: Envelope) -> Reply:
    return Reply(status=201, body={"id": envelope.data["media_id"], "status": "ready"})


@pytest.fixture
def files(storage_folder: Path) -> Callable[[], list[str]]:
    def found() -> list[str]:
        return sorted(str(path.relative_to(storage_folder)) for path in storage_folder.rglob("*") if path.is_file())

    return found


def part(content: bytes, *, name: str = "file", filename: str = "a.mp4", content_type: str = "video/mp4") -> bytes:
    head = (
        f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> dict[str, Any]:
    return {"content": b"".join(parts) + b"--B--\r\n"}


def multipart(auth: dict[str, str]) -> dict[str, str]:
    return {**auth, "Content-Type": "multipart/form-data; boundary=B"}


def break_folder(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("not a folder")


def mend_folder(folder: Path) -> None:
    folder.unlink()
    folder.mkdir()


async def test_an_upload_is_stored_hashed_and_registered(
    gateway: Any, responder: Any, auth: Any, user_id: UUID, files: Any, storage_folder: Path
) -> None:
    responder.script = registered
    await responder.bind(RegisterMedia.KEY)
    content = MP4 * 400
    answer = await gateway.post(UPLOAD, files={"file": ("C:\\clips\\ä b.mp4", content, "video/mp4")}, headers=auth)
    assert answer.status_code == 201, answer.text
    (envelope,) = responder.received
    media_id = answer.json()["id"]
    assert envelope.subject == media_id
    assert UUID(media_id).version == 7
    assert envelope.data == {
        "media_id": media_id,
        "storage_key": f"media/{user_id}/{media_id}",
        "filename": "ä b.mp4",
        "content_type": "video/mp4",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert files() == [envelope.data["storage_key"]]
    assert (storage_folder / envelope.data["storage_key"]).read_bytes() == content


@pytest.mark.parametrize(
    ("content", "declared", "found"),
    [
        (MP4, "application/octet-stream", "video/mp4"),
        (MP4, "", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  xxxx", "video/mp4", "video/quicktime"),
        (JPEG, "image/jpeg", "image/jpeg"),
        (b"RIFFxxxxWEBPxx", "image/webp", "image/webp"),
        (b"\x1a\x45\xdf\xa3xxxx", "video/webm", "video/webm"),
    ],
)
async def test_the_content_tells_the_type(
    gateway: Any, responder: Any, auth: Any, content: bytes, declared: str, found: str
) -> None:
    responder.script = registered
    await responder.bind(RegisterMedia.KEY)
    body = form(part(content, content_type=declared))
    answer = await gateway.post(UPLOAD, **body, headers=multipart(auth))
    assert answer.status_code == 201, answer.text
    assert responder.received[0].data["content_type"] == found
    assert responder.received[0].data["size_bytes"] == len(content)


REFUSED: dict[str, tuple[dict[str, Any], str | None, int, str]] = {
    "another kind of body": ({"content": b"{}"}, "application/json", 415, "unsupported_media_type"),
    "no boundary": (form(part(MP4)), "multipart/form-data", 400, "malformed_multipart"),
    "a huge boundary": (form(part(MP4)), f"multipart/form-data; boundary={'b' * 300}", 400, "malformed_multipart"),
    "another boundary": (form(part(MP4)), "multipart/form-data; boundary=C", 400, "malformed_multipart"),
    "nothing": ({"content": b""}, None, 400, "incomplete_body"),
    "no parts": ({"content": b"--B--\r\n"}, None, 422, "invalid_upload"),
    "garbage": ({"content": b"\x00" * 5000}, None, 400, "malformed_multipart"),
    "cut short": ({"content": part(MP4)}, None, 400, "incomplete_body"),
    "cut in the headers": ({"content": part(MP4)[:30]}, None, 400, "incomplete_body"),
    "another field": (form(part(MP4, name="video")), None, 422, "invalid_upload"),
    "a field before": (
        form(b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n', part(MP4)),
        None,
        422,
        "invalid_upload",
    ),
    "a field after": (
        form(part(MP4), b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'),
        None,
        422,
        "invalid_upload",
    ),
    "two files": (form(part(MP4), part(MP4)), None, 422, "invalid_upload"),
    "not a file": (form(b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n'), None, 422, "invalid_upload"),
    "no disposition": (form(b"--B\r\nX: y\r\n\r\nx\r\n"), None, 400, "malformed_multipart"),
    "a huge header": (form(b"--B\r\nX: " + b"y" * 9000 + b"\r\n\r\nx\r\n"), None, 400, "malformed_multipart"),
    "many headers": (form(b"--B\r\n" + b"X: y\r\n" * 9 + b"\r\nx\r\n"), None, 400, "malformed_multipart"),
    "a long epilogue": ({"content": form(part(MP4))["content"] + b"x" * 2_000_000}, None, 400, "malformed_multipart"),
    "empty file": (form(part(b"")), None, 422, "media_rejected"),
    "a document": (form(part(b"%PDF-1.7", content_type="application/pdf")), None, 415, "unsupported_media_type"),
    "an odd type": (form(part(MP4, content_type="video")), None, 415, "unsupported_media_type"),
    "text called video": (form(part(b"hello" * 1000)), None, 422, "media_rejected"),
    "unknown bytes": (form(part(b"hello", content_type="application/octet-stream")), None, 415, "unsupported_media_type"),
    "photo called video": (form(part(JPEG)), None, 422, "media_rejected"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_uploads_leave_nothing(gateway: Any, responder: Any, auth: Any, files: Any, name: str) -> None:
    await responder.bind(RegisterMedia.KEY)
    body, content_type, status, code = REFUSED[name]
    headers = multipart(auth) | ({"Content-Type": content_type} if content_type else {})
    answer = await gateway.post(UPLOAD, **body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert files() == []
    assert responder.received == []


async def test_the_size_limit_is_exact_and_holds_while_streaming(
    run_gateway: Any, responder: Any, auth: Any, files: Any
) -> None:
    responder.script = registered
    await responder.bind(RegisterMedia.KEY)
    limit = 3 * 1024 * 1024 + 17

    def streamed(size: int) -> Any:
        async def chunks() -> Any:
            content = (MP4 * (size // len(MP4) + 1))[:size]
            yield part(b"")[:-2]
            for start in range(0, size, 100_001):
                yield content[start : start + 100_001]
            yield b"\r\n--B--\r\n"

        return chunks()

    async with run_gateway(upload_max_bytes=limit) as client:
        fits = await client.post(UPLOAD, content=streamed(limit), headers=multipart(auth))
        assert fits.status_code == 201
        over = await client.post(UPLOAD, content=streamed(limit + 1), headers=multipart(auth))
        assert (over.status_code, over.json()["max_bytes"]) == (413, limit)
        far_over = await client.post(UPLOAD, content=streamed(limit * 4), headers=multipart(auth))
        assert far_over.status_code == 413
        declared = await client.post(UPLOAD, **form(part(MP4 * 400)), headers=multipart(auth))
        assert declared.status_code == 413
        assert len(files()) == 1


@pytest.mark.parametrize("sent", [0, 2, 12])
async def test_an_aborted_upload_leaves_nothing(gateway: Any, auth: Any, files: Any, sent: int) -> None:
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 50000000\r\n\r\n"
    ).encode()
    _, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    writer.write(head + part(MP4)[:-2])
    for _ in range(sent):
        writer.write(bytes(1024 * 1024))
        await writer.drain()
    if sent > 10:
        await eventually(lambda: any(name.startswith("uploads/tmp/") for name in files()))
    writer.transport.abort()
    await eventually(lambda: files() == [])
    assert (await gateway.get("/healthz")).status_code == 200


async def test_a_client_that_waits_for_continue_is_refused_before_it_sends(gateway: Any, auth: Any) -> None:
    reader, writer = await asyncio.open_connection(gateway.base_url.host, gateway.base_url.port)
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\nExpect: 100-continue\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 900000000\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()


async def begin(client: httpx.AsyncClient, auth: dict[str, str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send the beginning of an upload, and no more."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = (
        f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 900000\r\n\r\n"
    )
    writer.write(head.encode() + part(MP4)[:-2])
    return reader, writer


async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, str]:
    """Return status and code of the answer to an upload that was not complete."""
    head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
    writer.close()
    return head.split(b" ")[1], json.loads(body)["code"]


async def test_a_client_that_stalls_is_told(run_gateway: Any, auth: Any, files: Any) -> None:
    async with run_gateway(upload_stall_seconds=0.2) as client:
        assert await told(*await begin(client, auth)) == (b"408", "upload_stalled")
        await eventually(lambda: files() == [])


async def test_a_client_that_is_too_slow_is_told(gateway: Any, auth: Any, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which the first bytes took 100 seconds to come."""
    monkeypatch.setattr("gateway.api.incoming_file.monotonic", itertools.count(step=100).__next__)
    assert await told(*await begin(gateway, auth)) == (b"408", "upload_too_slow")
    await eventually(lambda: files() == [])
    assert gateway.app.state.edge.uploads.taken == 0


async def test_uploads_have_so_many_places(
    run_gateway: Any, responder: Any, auth: Any, user_keys: Any, files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.routes.media.PATIENCE_SECONDS", 0.05)
    responder.script = registered
    await responder.bind(RegisterMedia.KEY)
    others = [user_keys.authorization(uuid4(), session_id=str(uuid4())) for _ in range(2)]
    async with run_gateway(uploads=2, uploads_per_user=1) as client:

        async def upload(user: dict[str, str]) -> tuple[int, str | None, str | None]:
            answer = await client.post(UPLOAD, **form(part(MP4)), headers=multipart(user))
            return answer.status_code, answer.json().get("code"), answer.headers.get("retry-after")

        places = client.app.state.edge.uploads
        _, first = await begin(client, auth)
        await eventually(lambda: places.taken == 1)
        assert await upload(auth) == (429, "too_many_at_once", "10")
        assert await upload(others[0]) == (201, None, None)
        _, second = await begin(client, others[0])
        await eventually(lambda: places.taken == 2)
        assert await upload(others[1]) == (503, "all_places_taken", "10")
        first.transport.abort()
        await eventually(lambda: places.taken == 1)
        assert await upload(others[1]) == (201, None, None)
        second.transport.abort()
        await eventually(lambda: places.taken == 0)
        assert len(files()) == 2


async def test_no_reply_in_time_is_202_and_keeps_the_file(run_gateway: Any, responder: Any, auth: Any, files: Any) -> None:
    responder.script = lambda _: None
    await responder.bind(RegisterMedia.KEY)
    async with run_gateway(command_timeout_seconds=0.3) as client:
        answer = await client.post(UPLOAD, **form(part(MP4)), headers=multipart(auth))
        assert answer.status_code == 202
        assert answer.headers["location"].startswith("/api/v1/operations/")
        assert files() == [(await responder.first()).data["storage_key"]]


async def test_nothing_accepted_or_rejected_leaves_nothing(gateway: Any, responder: Any, auth: Any, files: Any) -> None:
    answer = await gateway.post(UPLOAD, **form(part(MP4)), headers=multipart(auth))
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    assert files() == []
    errors = [FieldError("file", "too_long", "x"), FieldError("file", "fps_too_low", "y")]
    responder.script = lambda _: Reply.of_problem(Problem(422, "media_rejected", "No.", errors=errors))
    await responder.bind(RegisterMedia.KEY)
    answer = await gateway.post(UPLOAD, **form(part(MP4)), headers=multipart(auth))
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 2)
    assert files() == []


async def test_a_failed_command_keeps_the_file_for_its_replay(gateway: Any, responder: Any, auth: Any, files: Any) -> None:
    responder.script = lambda _: Reply.of_problem(Problem(500, "command_failed", "x"))
    await responder.bind(RegisterMedia.KEY)
    answer = await gateway.post(UPLOAD, **form(part(MP4)), headers=multipart(auth))
    assert answer.status_code == 500
    assert len(files()) == 1


async def test_the_same_key_gives_the_same_media(gateway: Any, responder: Any, auth: Any, files: Any) -> None:
    first: list[Reply] = []

    def once(envelope: Envelope) -> Reply:
        first.append(registered(envelope))
        return first[0]

    responder.script = once
    await responder.bind(RegisterMedia.KEY)
    headers = multipart(auth) | {"Idempotency-Key": "k"}
    answers = [await gateway.post(UPLOAD, **form(part(content)), headers=headers) for content in (MP4, MP4, MP4 + b"x")]
    assert len({answer.json()["id"] for answer in answers}) == 1
    one, same, other = responder.received
    assert one.id == same.id == other.id
    assert one.requesthash == same.requesthash != other.requesthash
    assert files() == [one.data["storage_key"]]
    bad = await gateway.post(UPLOAD, **form(part(MP4)), headers=multipart(auth) | {"Idempotency-Key": "a b"})
    assert bad.status_code == 422


async def test_a_storage_that_fails_is_503_and_readiness_is_red(
    gateway: Any, auth: Any, storage_folder: Path, files: Any
) -> None:
    break_folder(storage_folder)
    answer = await gateway.post(UPLOAD, **form(part(MP4 * 1000)), headers=multipart(auth))
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert (await gateway.get("/readyz")).json()["checks"]["storage"]["ok"] is False
    mend_folder(storage_folder)
    assert (await gateway.get("/readyz")).status_code == 200
