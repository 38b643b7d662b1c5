"""Contents and thumbnails are streamed out of storage, whole or in ranges, to their owner; HEAD tells the same without bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from common.contracts.scheduler import DeleteMedia
from common.errors import Problem
from common.messaging.reply import Reply

pytestmark = pytest.mark.integration

CONTENT = bytes(range(256)) * 40_000
PICTURE = b"\xff\xd8\xff" + bytes(500)
NAMES = ["ä.mp4", 'a"; filename=evil.html', "a\r\nSet-Cookie: x", "x" * 255, "клип.mp4", "..", "%00"]


@pytest.fixture
def stored(services: Any, user_id: UUID, storage_folder: Path) -> Callable[..., UUID]:
    """Return a function that stores a file with its thumbnail and lets the scheduler know it."""

    def store(**changes: Any) -> UUID:
        media_id = uuid4()
        key = f"media/{user_id}/{uuid4()}"
        found = {
            "filename": "a.mp4",
            "content_type": "video/mp4",
            "sha256": "ab",
            "storage_key": key,
            "thumbnail_key": f"thumbnails/{user_id}/1",
            **changes,
        }
        for name, content in ((found["storage_key"], CONTENT), (found["thumbnail_key"], PICTURE)):
            if name is not None:
                path = storage_folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        services.answer("GET", f"/internal/media/{media_id}/objects", found)
        return media_id

    return store


async def test_contents_and_ranges(gateway: Any, auth: Any, stored: Any, storage_folder: Path) -> None:
    path = f"/api/v1/media/{stored()}/content"
    whole = await gateway.get(path, headers=auth)
    assert (whole.status_code, whole.content == CONTENT) == (200, True)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-length"] == str(len(CONTENT))
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["etag"] == '"ab"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"

    async def ranged(value: str, **more: str) -> httpx.Response:
        answer: httpx.Response = await gateway.get(path, headers={**auth, "Range": value, **more})
        return answer

    some = await ranged("bytes=10-19")
    assert (some.status_code, some.content) == (206, CONTENT[10:20])
    assert (some.headers["content-range"], some.headers["content-length"]) == (f"bytes 10-19/{len(CONTENT)}", "10")
    assert (await ranged("bytes=-5")).content == CONTENT[-5:]
    assert (await ranged(f"bytes={len(CONTENT) - 3}-")).content == CONTENT[-3:]
    assert (await ranged(f"bytes=5-{10**18}")).content == CONTENT[5:]
    assert (await ranged(f"bytes=-{10**18}")).status_code == 206
    assert (await ranged("bytes=5000000-9999999")).content == CONTENT[5_000_000:10_000_000]
    assert (await ranged("bytes=0-1", **{"If-Range": '"ab"'})).status_code == 206
    for tag in ('"old"', 'W/"ab"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert (await ranged("bytes=0-1", **{"If-Range": tag})).status_code == 200, tag
    for none in (f"bytes={len(CONTENT)}-", "bytes=-0"):
        beyond = await ranged(none)
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    for odd in ("bytes=x", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=9-2", f"bytes=1-{'9' * 30}"):
        assert (await ranged(odd)).status_code == 200, odd
    for tags in ('"x", W/"ab"', '"ab"', "*"):
        assert (await gateway.get(path, headers={**auth, "If-None-Match": tags})).status_code == 304
    for file in (storage_folder / "media").rglob("*"):
        if file.is_file():
            file.unlink()
    gone = await gateway.get(path, headers=auth)
    assert (gone.status_code, gone.json()["code"]) == (404, "media_content_gone")


async def test_thumbnails(gateway: Any, auth: Any, stored: Any) -> None:
    path = f"/api/v1/media/{stored()}/thumbnail"
    whole = await gateway.get(path, headers=auth)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, PICTURE, "image/jpeg")
    assert whole.headers["etag"] == '"ab-thumbnail"'
    assert whole.headers["content-disposition"] == "inline; filename*=UTF-8''a.mp4.jpg"
    some = await gateway.get(path, headers={**auth, "Range": "bytes=1-2"})
    assert (some.status_code, some.content) == (206, PICTURE[1:3])
    none = await gateway.get(f"/api/v1/media/{stored(thumbnail_key=None)}/thumbnail", headers=auth)
    assert (none.status_code, none.json()["code"]) == (404, "thumbnail_not_available")


@pytest.mark.parametrize("kind", ["content", "thumbnail"])
async def test_head_tells_without_bytes(gateway: Any, auth: Any, stored: Any, kind: str) -> None:
    path = f"/api/v1/media/{stored()}/{kind}"
    got = await gateway.get(path, headers=auth)
    told = await gateway.head(path, headers={**auth, "Range": "bytes=0-1"})
    assert (told.status_code, told.content) == (200, b"")
    same = ("content-type", "content-length", "etag", "accept-ranges", "content-disposition")
    assert [told.headers[name] for name in same] == [got.headers[name] for name in same]
    assert (await gateway.head(path, headers={**auth, "If-None-Match": got.headers["etag"]})).status_code == 304
    assert (await gateway.get(path, headers=auth)).content == got.content


async def test_head_of_a_file_and_of_the_list(gateway: Any, services: Any, auth: Any) -> None:
    media_id = uuid4()
    for path in (f"/media/{media_id}", "/media"):
        services.answer("GET", f"/internal{path}", {"id": "x"})
        told = await gateway.head(f"/api/v1{path}", headers=auth)
        assert (told.status_code, told.content, told.headers["content-length"]) == (200, b"", "10")
    await gateway.get("/api/v1/media?status=ready&kind=photo&limit=3", headers=auth)
    assert services.calls_of("/internal/media")[-1]["query"] == "status=ready&kind=photo&limit=3"


@pytest.mark.parametrize("name", NAMES)
async def test_names_cannot_break_out_of_their_header(gateway: Any, auth: Any, stored: Any, name: str) -> None:
    answer = await gateway.get(f"/api/v1/media/{stored(filename=name)}/content", headers=auth)
    assert answer.headers["content-disposition"] == f"inline; filename*=UTF-8''{quote(name, safe='')}"
    assert "set-cookie" not in answer.headers


async def test_contents_are_the_owners_only(gateway: Any, services: Any, auth: Any) -> None:
    media_id = uuid4()
    services.answer("GET", f"/internal/media/{media_id}/objects", {"code": "media_not_found"}, status=404)
    for kind in ("content", "thumbnail"):
        answer = await gateway.get(f"/api/v1/media/{media_id}/{kind}", headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (404, "media_not_found")
    services.answer("GET", f"/internal/media/{media_id}/objects", {"odd": True})
    assert (await gateway.get(f"/api/v1/media/{media_id}/content", headers=auth)).status_code == 503


async def test_deleting_is_a_command(gateway: Any, responder: Any, auth: Any, user_id: UUID) -> None:
    media_id = uuid4()
    await responder.bind(DeleteMedia.KEY)
    responder.script = lambda _: Reply(status=204)
    answer = await gateway.delete(f"/api/v1/media/{media_id}", headers={**auth, "Idempotency-Key": "k"})
    assert (answer.status_code, answer.content) == (204, b"")
    (envelope,) = responder.received
    assert (envelope.data, envelope.subject, envelope.userid) == ({"media_id": str(media_id)}, str(media_id), user_id)
    in_use = Problem(409, "media_in_use", "x", extra={"post_ids": ["1"]})
    responder.script = lambda _: Reply.of_problem(in_use)
    answer = await gateway.delete(f"/api/v1/media/{media_id}", headers=auth)
    assert (answer.status_code, answer.json()["code"], answer.json()["post_ids"]) == (409, "media_in_use", ["1"])
    for wrong in ("x", "0", "%00", "1" * 40):
        assert (await gateway.delete(f"/api/v1/media/{wrong}", headers=auth)).status_code == 404
