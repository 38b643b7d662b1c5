"""The scheduler's object storage: a local folder, and a bucket behind S3's API."""

from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, S3Store

from common.errors import Transient
from scheduler.clients.object_storage import ObjectMissing, ObjectStorage

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
