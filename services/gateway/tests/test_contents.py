"""Contents of the media library are streamed out of storage, whole or in ranges, to their owner."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

pytestmark = pytest.mark.integration


def write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def delete_file(path: Path) -> None:
    path.unlink()


async def test_contents_and_ranges(gateway: Any, services: Any, auth: Any, user_id: UUID, storage_folder: Path) -> None:
    media_id = uuid4()
    content = bytes(range(256)) * 40_000
    target = storage_folder / "media" / str(user_id) / str(media_id)
    write_file(target, content)
    media = {"id": str(media_id), "filename": "ä.mp4", "content_type": "video/mp4", "sha256": "ab", "status": "ready"}
    services.answer("GET", f"/internal/media/{media_id}", media)
    path = f"/api/v1/media/{media_id}/content"
    whole = await gateway.get(path, headers=auth)
    assert (whole.status_code, whole.content == content) == (200, True)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-length"] == str(len(content))
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["etag"] == '"ab"'

    async def ranged(value: str, **more: str) -> httpx.Response:
        answer: httpx.Response = await gateway.get(path, headers={**auth, "Range": value, **more})
        return answer

    some = await ranged("bytes=10-19")
    assert (some.status_code, some.content) == (206, content[10:20])
    assert some.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert (await ranged("bytes=-5")).content == content[-5:]
    assert (await ranged(f"bytes={len(content) - 3}-")).content == content[-3:]
    assert (await ranged("bytes=5000000-9999999")).content == content[5_000_000:10_000_000]
    assert (await ranged("bytes=0-1", **{"If-Range": '"ab"'})).status_code == 206
    assert (await ranged("bytes=0-1", **{"If-Range": '"old"'})).status_code == 200
    beyond = await ranged(f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
    for odd in ("bytes=x", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=9-2"):
        assert (await ranged(odd)).status_code == 200, odd
    assert (await gateway.get(path, headers={**auth, "If-None-Match": '"x", W/"ab"'})).status_code == 304
    delete_file(target)
    gone = await gateway.get(path, headers=auth)
    assert (gone.status_code, gone.json()["code"]) == (404, "media_content_gone")


async def test_contents_are_the_owners_only(gateway: Any, services: Any, auth: Any) -> None:
    media_id = uuid4()
    services.answer("GET", f"/internal/media/{media_id}", {"code": "media_not_found"}, status=404)
    answer = await gateway.get(f"/api/v1/media/{media_id}/content", headers=auth)
    assert (answer.status_code, answer.json()["code"]) == (404, "media_not_found")
    services.answer("GET", f"/internal/media/{media_id}", {"odd": True})
    assert (await gateway.get(f"/api/v1/media/{media_id}/content", headers=auth)).status_code == 503
