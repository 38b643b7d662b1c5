"""The scheduler's object storage: a local folder, and a bucket behind S3's API."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore, S3Store

from common.clock import utc_now
from common.errors import Transient
from common.ids import uuid7
from common.testing.s3_server import Bucket, new_bucket, s3_server
from scheduler.clients.object_storage import ObjectMissing, ObjectStorage
from scheduler.domain.media import Media, thumbnail_key
from scheduler.probe.limits import ProbeLimits
from scheduler.probe.prober import Prober
from scheduler.usecases.clean_storage import Orphans
from scheduler.usecases.register_media import judge_upload

pytestmark = pytest.mark.integration


async def test_a_bucket_is_downloaded_and_the_copy_removed() -> None:
    bucket = MemoryStore()
    await obstore.put_async(bucket, "m/a.mp4", b"x" * 100_000)
    storage = ObjectStorage("s3://bucket/prefix", remote=bucket)
    async with storage.local_file("m/a.mp4") as path:
        assert path.read_bytes() == b"x" * 100_000
    assert not path.exists()
    with pytest.raises(ObjectMissing):
        await storage.local_file("m/b.mp4").__aenter__()


async def test_a_storage_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    away = S3Store(
        "bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    for storage in (ObjectStorage(f"file://{tmp_path}/gone"), ObjectStorage("s3://bucket", remote=away)):
        with pytest.raises(Transient):
            await storage.local_file("a").__aenter__()


async def test_storage_outside_the_root_is_missing(tmp_path: Path) -> None:
    storage = ObjectStorage(f"file://{tmp_path}/with%20space")
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "a").write_text("x")
    (tmp_path / "secret").write_text("x")
    async with storage.local_file("a") as path:
        assert path.read_text() == "x"
    (tmp_path / "with space" / "link").symlink_to(tmp_path / "secret")
    for key in ("../secret", "link", "."):
        with pytest.raises(ObjectMissing):
            await storage.local_file(key).__aenter__()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return new_bucket(endpoint)


def file_at(key: str, size: int) -> Media:
    now = utc_now()
    fields = (uuid7(), uuid7(), "processing", "a.mp4", "video/mp4", size, "ab" * 32, key)
    return Media(*fields, None, None, None, None, None, None, [], 1, now, now, None, None)


async def keys(storage: ObjectStorage, prefix: str, *, age: timedelta = timedelta(0)) -> set[str]:
    before = utc_now() + timedelta(seconds=5) - age
    return {key async for page in storage.pages(prefix, before=before) for key in page}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_writing_listing_and_removing(kind: str, bucket: Bucket, tmp_path: Path) -> None:
    storage = ObjectStorage(bucket.url if kind == "bucket" else f"file://{tmp_path}")
    names = {f"media/u/{number}" for number in range(3)}
    for name in (*names, "mediax/u/1", "thumbnails/u/1"):
        await storage.write(name, b"x")
    await storage.write("media/u/1", b"y")
    assert await keys(storage, "media/") == names
    assert await keys(storage, "media/", age=timedelta(hours=1)) == set()
    assert await keys(storage, "nothing/") == set()
    for _ in range(2):
        await storage.remove("media/u/1")
    assert await keys(storage, "media/") == names - {"media/u/1"}
    async with storage.local_file("media/u/2") as path:
        assert path.read_bytes() == b"x"


async def test_a_video_in_a_bucket_is_probed_and_gets_a_thumbnail(bucket: Bucket, make_video: Callable[..., Path]) -> None:
    storage, content = ObjectStorage(bucket.url), make_video().read_bytes()
    await storage.write("media/u/1", content)
    verdict = await judge_upload(storage, Prober(ProbeLimits()), file_at("media/u/1", len(content)))
    assert (verdict.problems, verdict.has_thumbnail) == ((), True)
    assert bucket.keys() == ["media/u/1", thumbnail_key("media/u/1")]
    missing = await judge_upload(storage, Prober(ProbeLimits()), file_at("media/u/2", 1))
    assert [problem.code for problem in missing.problems] == ["file_missing"]


async def test_orphans_in_a_bucket(bucket: Bucket, world: Any) -> None:
    storage = ObjectStorage(bucket.url)
    for name in ("media/u/1", "thumbnails/u/1", "uploads/tmp/1"):
        await storage.write(name, b"x")
    orphans = Orphans(world.database, storage, grace=timedelta(seconds=-5), watch=0)
    assert await orphans.remove(await orphans.look(0.0)) == 2
    assert bucket.keys() == ["uploads/tmp/1"]


async def test_every_call_tells_when_the_storage_is_away(tmp_path: Path) -> None:
    remote = S3Store(
        "bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    for storage in (ObjectStorage(f"file://{tmp_path}/gone"), ObjectStorage("s3://bucket", remote=remote)):
        with pytest.raises(Transient):
            await storage.write("a", b"x")
        with pytest.raises(Transient):
            await storage.remove("a")
        with pytest.raises(Transient):
            await keys(storage, "media/")


async def test_a_thumbnail_that_cannot_be_stored_costs_a_retry_not_the_file(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """The bytes can be read, but nothing can be written beside them: the registration is tried again later."""
    (tmp_path / "media").mkdir()
    video = make_video()
    (tmp_path / "media" / "1").write_bytes(video.read_bytes())
    (tmp_path / "thumbnails").write_text("in the way")
    with pytest.raises(Transient):
        await judge_upload(ObjectStorage(f"file://{tmp_path}"), Prober(ProbeLimits()), file_at("media/1", 1))
