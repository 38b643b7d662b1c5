"""Object storage as the scheduler needs it: a file on local disk to look into."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from common.errors import Transient

MAX_DOWNLOAD_BYTES = 4 * 1024**3
DOWNLOAD_SECONDS = 600.0


class ObjectMissing(Exception):
    """The object is not in the store."""


class ObjectStorage:
    """A local folder (`file:///abs/path`) or an S3-compatible bucket (`s3://bucket/prefix`)."""

    def __init__(self, url: str, *, remote: ObjectStore | None = None) -> None:
        parts = urlsplit(url)
        self._source: Path | ObjectStore
        if parts.scheme == "file":
            self._source = Path(unquote(parts.path))
        else:
            self._source = remote or from_url(
                url, client_options={"timeout": "60s", "connect_timeout": "5s", "allow_http": True}
            )

    @asynccontextmanager
    async def local_file(self, key: str) -> AsyncIterator[Path]:
        """Hand out the path of an object for reading: the file itself, or a download that is removed afterwards.

        Raises ObjectMissing when there is no such object (or the key leads out of the store), Transient while the store is away.
        """
        if isinstance(self._source, Path):
            yield await asyncio.to_thread(_inside, self._source, key)
            return
        with tempfile.NamedTemporaryFile(prefix="cuepost-probe-") as copy:
            await _download(self._source, key, copy)
            yield Path(copy.name)


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
        raise Transient(f"object storage: {type(error).__name__}") from error


def _inside(root: Path, key: str) -> Path:
    base = root.resolve()
    if not base.is_dir():
        raise Transient("object storage: the folder is not there")
    path = (base / key).resolve()
    if not path.is_relative_to(base) or not path.is_file():
        raise ObjectMissing(key)
    return path
