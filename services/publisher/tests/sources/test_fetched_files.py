"""Fetched files in storage: whole or not at all, in a folder and in a bucket, and removed when nobody needs them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.file_host import Act, file_host, video_bytes
from common.testing.s3_server import Bucket, new_bucket, s3_server
from publisher.clients import fetched_files
from publisher.clients.fetched_files import PART_BYTES, FetchedFiles, fetched_key
from publisher.clients.media_store import MediaStore, MediaUnavailable
from publisher.domain.job import State
from publisher.loops.fetched_files import FetchedFilesCleanup

MANY = [bytes([number]) * (PART_BYTES // 2) for number in range(5)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return new_bucket(endpoint)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[], list[str]]]:
    """Return the address of a storage, and what lists everything in it, unfinished writes too."""
    if request.param == "folder":
        return f"file://{tmp_path}", lambda: [
            str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
        ]
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.url, lambda: bucket.keys() + bucket.unfinished()


async def blocks(*given: bytes) -> AsyncIterator[bytes]:
    for block in given:
        yield block


async def test_a_file_is_written_read_and_removed(place: Any) -> None:
    url, listed = place
    files, key = FetchedFiles(url), fetched_key(uuid7(), 7, 0)
    await files.write(key, blocks(*MANY))
    assert listed() == [key]
    whole = b"".join([piece async for piece in MediaStore(url).read(key, 0, len(MANY) * len(MANY[0]) - 1)])
    assert whole == b"".join(MANY)
    await files.remove(key)
    await files.remove(key)
    assert listed() == []


async def test_what_breaks_off_leaves_nothing(place: Any) -> None:
    url, listed = place
    files = FetchedFiles(url)

    async def broken() -> AsyncIterator[bytes]:
        for block in MANY:
            yield block
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await files.write(fetched_key(uuid7(), 1, 0), broken())
    assert listed() == []


async def test_who_is_cancelled_leaves_nothing(place: Any) -> None:
    url, listed = place
    given = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for block in MANY:
            yield block
        given.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(FetchedFiles(url).write(fetched_key(uuid7(), 1, 0), endless()))
    await given.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert listed() == []


async def test_who_is_cancelled_when_all_is_written_leaves_nothing(tmp_path: Path) -> None:
    files, is_last = FetchedFiles(f"file://{tmp_path}"), asyncio.Event()

    async def last() -> AsyncIterator[bytes]:
        yield b"all"
        is_last.set()

    writing = asyncio.create_task(files.write(fetched_key(uuid7(), 1, 0), last()))
    await is_last.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not await files.older_than(timedelta(days=-1))


async def test_a_storage_that_is_away_says_so(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr(fetched_files, "CALL_SECONDS", 0.2)
    files = FetchedFiles("s3://nowhere")
    with pytest.raises(MediaUnavailable):
        await files.remove("fetched/x")
    with pytest.raises(MediaUnavailable):
        await files.older_than(timedelta())
    assert (await FetchedFilesCleanup(world.database, files).remove_left()).done == 0


async def test_the_file_of_an_ended_job_is_removed(world: Any) -> None:
    cleanup = FetchedFilesCleanup(world.database, FetchedFiles(f"file://{world.folder}"))
    account = await world.account()
    async with file_host() as host, world.replica():
        ended, waiting = (world.post_from(account, host.put(f"/{n}", Act(video_bytes(200_000, n)))) for n in range(2))
        await world.accept(ended)
        await world.state(ended, State.SUCCEEDED)
        world.accounts.status = "inactive"
        await world.accept(waiting)
        await eventually(lambda: world.waits(waiting, "account_paused"), 60)
    keys = [(await world.job(post)).fetched.storage_key for post in (ended, waiting)]
    assert {path.name for path in (world.folder / "fetched").iterdir()} == {Path(key).name for key in keys}
    (world.folder / "fetched").rename(world.folder / "away")
    (world.folder / "fetched").write_bytes(b"in the way")
    assert (await cleanup.remove_ended()).done == 0
    (world.folder / "fetched").unlink()
    (world.folder / "away").rename(world.folder / "fetched")
    assert (await cleanup.remove_ended()).done == 1
    assert [path.name for path in (world.folder / "fetched").iterdir()] == [Path(keys[1]).name]
    assert (await cleanup.remove_ended()).done == 0
    assert (await world.job(ended)).fetched is not None


async def test_what_dead_replicas_left_is_removed_after_an_hour(world: Any) -> None:
    cleanup = FetchedFilesCleanup(world.database, FetchedFiles(f"file://{world.folder}"))
    async with file_host() as host, world.replica():
        waiting = world.post_from(await world.account(), host.put("/v", Act(video_bytes(200_000))))
        world.accounts.status = "inactive"
        await world.accept(waiting)
        await eventually(lambda: world.waits(waiting, "account_paused"), 60)
    job = await world.job(waiting)
    kept = Path(job.fetched.storage_key).name
    folder = world.folder / "fetched"
    left = [f"{job.id}.1.0", f"{job.id}.1.1#1", f"{uuid7()}.1.0"]
    young, foreign = f"{uuid7()}.3.0", "notes.txt"
    for name in (*left, young, foreign):
        (folder / name).write_bytes(b"left")
    for name in (*left, kept, foreign):
        os.utime(folder / name, (0, 0))
    assert (await cleanup.remove_left()).done == len(left)
    assert {path.name for path in folder.iterdir()} == {kept, young, foreign}


async def test_what_was_left_in_a_bucket_is_found_by_its_age(bucket: Bucket) -> None:
    files, job_id = FetchedFiles(bucket.url), uuid7()
    await files.write(fetched_key(job_id, 1, 0), blocks(b"x"))
    (found,) = await files.older_than(timedelta(seconds=-5))
    assert (found.key, found.job_id) == (fetched_key(job_id, 1, 0), job_id)
    assert not await files.older_than(timedelta(minutes=5))
    await files.discard(found)
    assert bucket.keys() == []
