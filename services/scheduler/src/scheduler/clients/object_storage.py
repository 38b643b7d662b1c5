"""Object storage as the scheduler needs it: a file on local disk to look into."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from obstore.store import from_url

MAX_DOWNLOAD_BYTES = 4 * 1024**3


class ObjectMissing(Exception):
    """The object is not in the store."""


class ObjectStorage:
    """A local folder (`file:///abs/path`) or an S3-compatible bucket (`s3://bucket/prefix`)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._root = Path(unquote(parts.path)).resolve() if parts.scheme == "file" else None
        self._store: Any = None if self._root is not None else from_url(url)

    @asynccontextmanager
    async def local_file(self, key: str) -> AsyncIterator[Path]:
        """Hand out the path of an object for reading: the file itself, or a download that is removed afterwards.

        Raises ObjectMissing when there is no such object (or the key leads out of the store).
        """
        if self._root is not None:
            yield await asyncio.to_thread(_inside, self._root, key)
            return
        with tempfile.NamedTemporaryFile(prefix="cuepost-probe-") as copy:
            await self._download(key, copy)
            yield Path(copy.name)

    async def _download(self, key: str, copy: Any) -> None:
        try:
            answer = await self._store.get_async(key)
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error
        received = 0
        async for chunk in answer.stream():
            received += len(chunk)
            if received > MAX_DOWNLOAD_BYTES:
                raise ObjectMissing(f"{key} is larger than {MAX_DOWNLOAD_BYTES} bytes")
            await asyncio.to_thread(copy.write, chunk)
        await asyncio.to_thread(copy.flush)


def _inside(root: Path, key: str) -> Path:
    path = (root / key).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise ObjectMissing(key)
    return path
