"""Object storage: a local folder or an S3-compatible bucket, by URL."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Backend
from obstore.store import from_url

from common.errors import Problem

PART_BYTES = 5 * 1024 * 1024
"""Smallest part that S3 takes; two of them are in flight at most, so a write holds about 15 MB."""
_PARTS_IN_FLIGHT = 2
_READ_BYTES = 4 * 1024 * 1024
_CALL_TIMEOUT_S = 60.0
_CLEANUP_TIMEOUT_S = 10.0
_SWEEP_LIMIT = 10_000


def storage_unavailable() -> Problem:
    """Return the 503 for a storage that does not do what it should."""
    return Problem(503, "storage_unavailable", "The object storage is not available.", headers={"Retry-After": "5"})


class GivenUp(Exception):
    """Nobody waits for the write any more."""


class ObjectStore:
    """Streams objects in and out with constant memory; every call that goes out has a timeout."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._backend: Backend = from_url(url)
        else:
            self._backend = from_url(url, client_options={"timeout": "60s", "connect_timeout": "5s", "allow_http": True})

    async def write(self, key: str, blocks: AsyncIterator[bytes]) -> None:
        """Write an object from `blocks`; it appears whole or not at all.

        What `blocks` raises ends the write, removes what was written and is raised from here unchanged; so does cancelling it. A
        storage that fails raises `Problem` 503.
        """
        given_up = asyncio.Event()
        writing = asyncio.ensure_future(self._put(key, _until(given_up, blocks)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # A dropped write would leave its parts in the bucket for ever: it is made to fail, and so to clean up.
            given_up.set()
            await asyncio.wait([writing], timeout=_CLEANUP_TIMEOUT_S)
            if writing.done() and writing.exception() is None:
                await self.delete(key)
            raise
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def _put(self, key: str, blocks: AsyncIterator[bytes]) -> None:
        await obstore.put_async(
            self._backend, key, blocks, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT
        )

    async def move(self, source: str, target: str) -> None:
        """Rename an object; raises `Problem` 503 when the storage fails."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await obstore.rename_async(self._backend, source, target)
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is no error. Raises `Problem` 503 when the storage fails."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await obstore.delete_async(self._backend, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None when there is no such object; raises `Problem` 503 when the storage fails."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                return (await obstore.head_async(self._backend, key))["size"]
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def put(self, key: str, content: bytes) -> None:
        """Write a small object at once; raises `Problem` 503 when the storage fails."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                await obstore.put_async(self._backend, key, content)
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def get(self, key: str) -> bytes | None:
        """Return a small object's content, None when there is no such object; raises `Problem` 503 when the storage fails."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                found = await obstore.get_async(self._backend, key)
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error

    async def keys(self, prefix: str, *, limit: int, after: str = "") -> list[str]:
        """Return the first keys below `prefix` that come after a given one, in their order and at most `limit`.

        Raises `Problem` 503 when the storage fails.
        """
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                found = [item["path"] async for page in obstore.list(self._backend, prefix) for item in page]
        except (BaseError, OSError) as error:
            raise storage_unavailable() from error
        return sorted(key for key in found if key > after)[:limit]

    async def read(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to `stop` (excluded), a few megabytes at a time and only as fast as they are taken."""
        position = start
        while position < stop:
            end = min(position + _READ_BYTES, stop)
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                piece = await obstore.get_range_async(self._backend, key, start=position, end=end)
            yield bytes(piece)
            position = end

    async def sweep(self, prefix: str, *, older_than: timedelta) -> int:
        """Delete what a crashed process left below `prefix`; returns how many objects, at most 10,000 per call."""
        if self._folder is not None:
            return await asyncio.to_thread(_sweep_folder, self._folder / prefix, older_than.total_seconds())
        limit = datetime.now(UTC) - older_than
        old: list[str] = []
        async for page in obstore.list(self._backend, prefix):
            old += [item["path"] for item in page if item["last_modified"] < limit]
            if len(old) >= _SWEEP_LIMIT:
                break
        for key in old[:_SWEEP_LIMIT]:
            await self.delete(key)
        return len(old[:_SWEEP_LIMIT])


async def _until(given_up: asyncio.Event, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass blocks on until they end or `given_up` is set; raises `GivenUp` then, also while the next block is awaited."""
    stopping = asyncio.ensure_future(given_up.wait())
    try:
        while not given_up.is_set():
            coming = asyncio.ensure_future(anext(blocks, None))
            await asyncio.wait([coming, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.wait([coming])
                break
            block = coming.result()
            if block is None:
                return
            yield block
        raise GivenUp
    finally:
        stopping.cancel()


def _sweep_folder(folder: Path, age_seconds: float) -> int:
    """Unlink old files, those included that the local store had not finished and so does not list."""
    limit = time.time() - age_seconds
    old = [path for path in folder.glob("*") if path.is_file() and path.stat().st_mtime < limit][:_SWEEP_LIMIT]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
