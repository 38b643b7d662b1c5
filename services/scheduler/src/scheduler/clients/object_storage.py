"""Object storage as the scheduler needs it: a file on local disk to look into, small objects written, what is left removed."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from common.errors import Transient

MAX_DOWNLOAD_BYTES = 4 * 1024**3
DOWNLOAD_SECONDS = 600.0
CALL_SECONDS = 60.0
LOOK_SECONDS = 5.0


class ObjectMissing(Exception):
    """The object is not in the store."""


class ObjectStorage:
    """A local folder (`file:///abs/path`) or an S3-compatible bucket (`s3://bucket/prefix`).

    Every call that goes out has a timeout and raises Transient while the store is away.
    """

    def __init__(self, url: str, *, remote: ObjectStore | None = None) -> None:
        parts = urlsplit(url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        self._url = url
        self._made = remote

    @property
    def _store(self) -> ObjectStore:
        """The store, made when it is needed: a local folder must be there by then, and may come later than this service."""
        if self._made is None and self._folder is not None:
            if not self._folder.is_dir():
                raise Transient("object storage: the folder is not there")
            self._made = from_url(self._url)
        elif self._made is None:
            self._made = from_url(self._url, client_options={"timeout": "60s", "connect_timeout": "5s", "allow_http": True})
        return self._made

    @asynccontextmanager
    async def local_file(self, key: str) -> AsyncIterator[Path]:
        """Hand out the path of an object for reading: the file itself, or a download that is removed afterwards.

        Raises ObjectMissing when there is no such object (or the key leads out of the store), Transient while the store is away.
        """
        if self._folder is not None:
            yield await asyncio.to_thread(_inside, self._folder, key)
            return
        with tempfile.NamedTemporaryFile(prefix="cuepost-probe-") as copy:
            await _download(self._store, key, copy)
            yield Path(copy.name)

    async def write(self, key: str, content: bytes) -> None:
        """Write a small object, over one that is there."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await obstore.put_async(self._store, key, content, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return await self.size(key) is not None

    async def size(self, key: str) -> int | None:
        """Return how many bytes an object has, None when there is no such object."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return (await obstore.head_async(self._store, key))["size"]
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await obstore.delete_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def pages(self, prefix: str, *, before: datetime) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `prefix` that were last written before that time, some at a time."""
        listing = aiter(obstore.list(self._store, prefix.rstrip("/")))
        while True:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    page = await anext(listing, None)
            except (BaseError, OSError) as error:
                raise _away(error) from error
            if page is None:
                return
            yield [item["path"] for item in page if item["last_modified"] < before]


def _away(error: Exception) -> Transient:
    return Transient(f"object storage: {type(error).__name__}")


async def _download(store: ObjectStore, key: str, copy: IO[bytes]) -> None:
    try:
        async with asyncio.timeout(DOWNLOAD_SECONDS):
            answer = await obstore.get_async(store, key)
            if answer.meta["size"] > MAX_DOWNLOAD_BYTES:
                raise ObjectMissing(f"{key} is larger than any video may be")
            async for chunk in answer.stream():
                await asyncio.to_thread(copy.write, bytes(chunk))
        await asyncio.to_thread(copy.flush)
    except (NotFoundError, FileNotFoundError) as error:
        raise ObjectMissing(key) from error
    except (BaseError, OSError) as error:
        raise _away(error) from error


def _inside(root: Path, key: str) -> Path:
    base = root.resolve()
    if not base.is_dir():
        raise Transient("object storage: the folder is not there")
    path = (base / key).resolve()
    if not path.is_relative_to(base) or not path.is_file():
        raise ObjectMissing(key)
    return path
