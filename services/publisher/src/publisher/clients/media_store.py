"""Media in object storage: sizes, and bytes in pieces, never a whole file in memory."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

if TYPE_CHECKING:
    from obstore.store import ClientConfig

PIECE_BYTES = 256 * 1024
CLIENT_OPTIONS: "ClientConfig" = {"timeout": "900s", "connect_timeout": "5s", "allow_http": True}
"""For S3: the timeout spans a whole read, which goes only as fast as TikTok takes the chunk."""


class MediaMissing(Exception):
    """There is no such file (any more)."""


class MediaUnavailable(Exception):
    """Object storage does not answer; it may later."""


class MediaStore:
    """Reads from `file:///absolute/folder` or `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "file":
            Path(unquote(parts.path)).mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = from_url(url)
        else:
            self._store = from_url(url, client_options=CLIENT_OPTIONS)

    async def size(self, key: str) -> int:
        """Return the file's size in bytes. Raises MediaMissing, MediaUnavailable."""
        try:
            meta = await obstore.head_async(self._store, key)
        except FileNotFoundError:
            raise MediaMissing(key) from None
        except (BaseError, OSError) as error:
            raise MediaUnavailable(type(error).__name__) from error
        return meta["size"]

    async def read(self, key: str, first: int, last: int) -> AsyncIterator[bytes]:
        """Yield bytes `first` to `last` (both included) in pieces of about 256 KiB. Raises MediaMissing, MediaUnavailable."""
        try:
            result = await obstore.get_async(self._store, key, options={"range": (first, last + 1)})
            async for piece in result.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
        except FileNotFoundError:
            raise MediaMissing(key) from None
        except (BaseError, OSError) as error:
            raise MediaUnavailable(type(error).__name__) from error
