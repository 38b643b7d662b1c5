"""Files fetched from an address, in object storage until their job has ended: written as they come, removed by their key.

Keys are used once, by one lease of one job: a replica that lost its job cannot change what another one has checkpointed.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from publisher.clients.media_store import MediaUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig

PREFIX = "fetched"
PART_BYTES = 5 * 1024 * 1024
"""Smallest part that S3 takes; a write holds about two of them."""
CLEANUP_SECONDS = 10.0
CALL_SECONDS = 60.0
LISTED = 10_000
CLIENT_OPTIONS: "ClientConfig" = {"timeout": "60s", "connect_timeout": "5s", "allow_http": True}

_KEY = re.compile(rf"(?P<key>{PREFIX}/(?P<job>[0-9a-f-]{{36}})\.\d+(?:\.\d+)?)(?:#\d+)?")


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file, or the beginning of one, with the job it was fetched for."""

    key: str
    job_id: UUID


class GivenUp(Exception):
    """Nobody waits for the write any more."""


def fetched_key(job_id: UUID, lease_token: int, turn: int) -> str:
    """Return where the file of a job goes that is fetched under this lease, for the `turn`-th time."""
    return f"{PREFIX}/{job_id}.{lease_token}.{turn}"


class FetchedFiles:
    """Writes to and removes from `file:///absolute/folder` or `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = from_url(url)
        else:
            self._store = from_url(url, client_options=CLIENT_OPTIONS)

    async def write(self, key: str, blocks: AsyncIterator[bytes]) -> None:
        """Write an object from `blocks` in constant memory; it appears whole or not at all.

        What `blocks` raises ends the write, removes what was written and is raised from here unchanged; so does cancelling it.
        Raises MediaUnavailable when the storage fails.
        """
        given_up = asyncio.Event()
        writing = asyncio.ensure_future(self._put(key, _until(given_up, blocks)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # A dropped write would leave its parts in the bucket for ever: it is made to fail, and so to clean up.
            given_up.set()
            await asyncio.wait([writing], timeout=CLEANUP_SECONDS)
            if writing.done() and writing.exception() is None:
                await self.remove(key)
            raise
        except (BaseError, OSError) as error:
            raise MediaUnavailable(type(error).__name__) from error

    async def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error. Raises MediaUnavailable."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise MediaUnavailable(type(error).__name__) from error

    async def older_than(self, age: timedelta) -> Sequence[FetchedFile]:
        """Return files that were last written longer ago, at most 10,000; in a local folder unfinished ones, too.

        Raises MediaUnavailable.
        """
        try:
            if self._folder is not None:
                return await asyncio.to_thread(_old_in_folder, self._folder, age.total_seconds())
            return await self._old_in_store(datetime.now(UTC) - age)
        except (BaseError, OSError) as error:
            raise MediaUnavailable(type(error).__name__) from error

    async def discard(self, file: FetchedFile) -> None:
        """Remove what `older_than` found. Raises MediaUnavailable."""
        if self._folder is None or "#" not in file.key:
            await self.remove(file.key)
            return
        with suppress(FileNotFoundError):
            # The local store does not reach what it has not finished.
            await asyncio.to_thread((self._folder / file.key).unlink)

    async def _put(self, key: str, blocks: AsyncIterator[bytes]) -> None:
        await obstore.put_async(self._store, key, blocks, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=1)

    async def _old_in_store(self, before: datetime) -> Sequence[FetchedFile]:
        found: list[FetchedFile] = []
        listing = aiter(obstore.list(self._store, PREFIX))
        while len(found) < LISTED:
            async with asyncio.timeout(CALL_SECONDS):
                page = await anext(listing, None)
            if page is None:
                break
            found += [file for item in page if item["last_modified"] < before and (file := _file_of(item["path"]))]
        return found[:LISTED]


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


def _file_of(key: str) -> FetchedFile | None:
    """Return what a key of ours says, None for anything else."""
    match = _KEY.fullmatch(key)
    return None if match is None else FetchedFile(key, UUID(match["job"]))


def _old_in_folder(folder: Path, seconds: float) -> Sequence[FetchedFile]:
    before = time.time() - seconds
    names = (path for path in (folder / PREFIX).glob("*") if path.is_file() and path.stat().st_mtime < before)
    found = (_file_of(f"{PREFIX}/{path.name}") for path in names)
    return [file for file in found if file is not None][:LISTED]
