"""Uploads into a bucket behind S3's API: whole or not at all, also in parts; read in ranges, moved and removed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from common.contracts.envelope import Envelope
from common.contracts.scheduler import RegisterMedia
from common.errors import Problem
from common.messaging.reply import Reply
from common.testing.eventually import eventually
from common.testing.s3_server import Bucket, new_bucket, s3_server
from gateway.clients.object_store import PART_BYTES, ObjectStore
from gateway.clients.s3_requests import S3Access
from gateway.clients.unfinished_parts import UnfinishedParts
from gateway.usecases.store_upload import store_upload

pytestmark = pytest.mark.integration

HEAD = b"\x00\x00\x00\x18ftypmp42"
CONTENT = HEAD + bytes(range(256)) * (3 * PART_BYTES // 256)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return new_bucket(endpoint)


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    return ObjectStore(bucket.url)


async def blocks(content: bytes, *, fail_after: int | None = None) -> AsyncIterator[bytes]:
    for number, start in enumerate(range(0, len(content), 1024 * 1024)):
        if number == fail_after:
            raise Problem(400, "upload_aborted", "x")
        yield content[start : start + 1024 * 1024]


async def read(store: ObjectStore, key: str, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in store.read(key, start, stop)])


@pytest.mark.parametrize("size", [1, PART_BYTES, PART_BYTES + 1, len(CONTENT)])
async def test_an_upload_arrives_whole(store: ObjectStore, bucket: Bucket, size: int) -> None:
    content = (HEAD + CONTENT)[:size] if size > len(HEAD) else b"\xff\xd8\xff" * 2
    stored = await store_upload(store, blocks(content), declared="", key="media/u/1", max_bytes=10**9)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert (bucket.keys(), bucket.unfinished()) == (["media/u/1"], [])
    assert await store.size("media/u/1") == len(content)
    assert await read(store, "media/u/1", 0, len(content)) == content


async def test_ranges_and_removal(store: ObjectStore, bucket: Bucket) -> None:
    await store.write("media/u/1", blocks(CONTENT))
    for start, stop in ((0, 1), (PART_BYTES - 1, PART_BYTES + 1), (len(CONTENT) - 3, len(CONTENT)), (5, 9_000_000)):
        assert await read(store, "media/u/1", start, stop) == CONTENT[start:stop]
    await store.delete("media/u/1")
    await store.delete("media/u/1")
    assert (bucket.keys(), await store.size("media/u/1")) == ([], None)


@pytest.mark.parametrize("after", [0, 1, 8, 14])
async def test_an_upload_that_ends_early_leaves_no_parts(store: ObjectStore, bucket: Bucket, after: int) -> None:
    with pytest.raises(Problem, match="upload_aborted"):
        await store_upload(store, blocks(CONTENT, fail_after=after), declared="", key="media/u/1", max_bytes=10**9)
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


async def test_an_upload_beyond_the_limit_leaves_no_parts(store: ObjectStore, bucket: Bucket) -> None:
    with pytest.raises(Problem, match="file_too_large"):
        await store_upload(store, blocks(CONTENT), declared="", key="media/u/1", max_bytes=2 * PART_BYTES)
    assert (bucket.keys(), bucket.unfinished()) == ([], [])


async def test_an_upload_that_is_given_up_leaves_no_parts(store: ObjectStore, bucket: Bucket) -> None:
    """What a stop of the gateway does to a handler: it is cancelled."""
    never = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for block in blocks(CONTENT):
            yield block
        await never.wait()

    uploading = asyncio.create_task(store_upload(store, stalling(), declared="", key="media/u/1", max_bytes=10**9))
    await eventually(lambda: asyncio.to_thread(bucket.unfinished))
    uploading.cancel()
    await asyncio.wait([uploading])

    async def gone() -> bool:
        return await asyncio.to_thread(bucket.unfinished) == []

    await eventually(gone)
    assert bucket.keys() == []


async def test_a_store_that_is_away_is_503() -> None:
    away = ObjectStore("s3://bucket")
    away._backend = type(away._backend)(
        "bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    with pytest.raises(Problem, match="storage_unavailable"):
        await away.write("a", blocks(CONTENT))
    with pytest.raises(Problem, match="storage_unavailable"):
        await away.size("a")


async def test_what_a_crash_left_is_swept(store: ObjectStore, bucket: Bucket) -> None:
    await store.write("uploads/tmp/1", blocks(CONTENT))
    assert await store.sweep("uploads/tmp", older_than=timedelta(hours=1)) == 0
    assert await store.sweep("uploads/tmp", older_than=timedelta(seconds=-5)) == 1
    assert bucket.keys() == []


async def test_parts_that_a_killed_writer_left_are_removed(bucket: Bucket) -> None:
    """The server says of every write that it was begun in 2010."""
    left = ["some/prefix/uploads/tmp/a b+c", "some/prefix/fetched/1"]
    others = ["elsewhere/1", "some/prefix/media/u/1"]
    async with httpx.AsyncClient(base_url=f"{bucket.endpoint}/{bucket.name}/", trust_env=False) as http:
        for key in (*left, *others):
            (await http.post(f"{quote(key)}?uploads")).raise_for_status()
    assert sorted(bucket.unfinished()) == sorted([*left, *others])
    parts = UnfinishedParts(bucket.url, S3Access("test", SecretStr("test"), "us-east-1", bucket.endpoint))
    assert await parts.sweep(("uploads/tmp", "fetched"), older_than=timedelta(hours=24)) == 2
    assert sorted(bucket.unfinished()) == others
    assert await parts.sweep(("uploads/tmp", "fetched"), older_than=timedelta(hours=24)) == 0


async def test_small_objects(store: ObjectStore, bucket: Bucket) -> None:
    assert await store.keys("small", limit=5) == []
    for name in ("b", "a", "c"):
        await store.put(f"small/{name}", name.encode())
    assert await store.keys("small", limit=2) == ["small/a", "small/b"]
    assert (await store.get("small/c"), await store.get("small/d")) == (b"c", None)
    await store.delete("small/c")
    assert bucket.keys() == ["small/a", "small/b"]


async def test_the_gateway_on_a_bucket(
    run_gateway: Any, responder: Any, services: Any, auth: Any, user_id: UUID, bucket: Bucket
) -> None:
    await responder.bind(RegisterMedia.KEY)
    received: list[Envelope] = []

    def registered(envelope: Envelope) -> Reply:
        received.append(envelope)
        return Reply(status=201, body={"id": envelope.data["media_id"]})

    responder.script = registered
    async with run_gateway(storage_url=bucket.url) as client:
        answer = await client.post("/api/v1/media/upload", files={"file": ("a.mp4", CONTENT, "video/mp4")}, headers=auth)
        assert answer.status_code == 201, answer.text
        key = received[0].data["storage_key"]
        assert (bucket.keys(), bucket.unfinished()) == ([key], [])
        media_id = uuid4()
        found = {"filename": "a", "content_type": "video/mp4", "sha256": "ab", "storage_key": key, "thumbnail_key": None}
        services.answer("GET", f"/internal/media/{media_id}/objects", found)
        path = f"/api/v1/media/{media_id}/content"
        assert (await client.get(path, headers=auth)).content == CONTENT
        some = await client.get(path, headers={**auth, "Range": "bytes=-7"})
        assert (some.status_code, some.content) == (206, CONTENT[-7:])
