"""Store an upload: from the client into object storage, hashed and checked on the way, in constant memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from common.errors import FieldError, Problem
from gateway.clients.object_store import ObjectStore
from gateway.domain.media_type import SNIFF_BYTES, declared_family, sniff

TEMPORARY_PREFIX = "uploads/tmp"


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An object in storage: its key, size in bytes, SHA-256 (hex) and the media type its content shows."""

    key: str
    size_bytes: int
    sha256: str
    content_type: str


def media_key(user_id: UUID, media_id: UUID) -> str:
    """Return the storage key of a media file."""
    return f"media/{user_id}/{media_id}"


def check_declared(content_type: str) -> None:
    """Raise `Problem` 415 when the declared type is neither video nor photo.

    `application/octet-stream` and no type at all declare nothing; the content decides.
    """
    if declared_family(content_type) is None:
        raise _unsupported(f"{content_type[:100]} is neither a video nor a photo.")


def too_large(limit: int) -> Problem:
    """Return the 413 for a file of more than `limit` bytes."""
    return Problem(
        413,
        "file_too_large",
        f"The file is larger than {limit} bytes.",
        hint=f"Files up to {limit} bytes are taken.",
        extra={"max_bytes": limit},
    )


def rejected(code: str, message: str) -> Problem:
    """Return the 422 for content that cannot be a video or photo."""
    return Problem(422, "media_rejected", message, errors=[FieldError("file", code, message)])


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported_media_type", detail, hint="Upload an MP4, MOV or WebM video, or a JPEG or WebP photo.")


class _Intake:
    """Passes blocks on while it counts, hashes (in a thread, so the loop stays free) and checks them."""

    def __init__(self, blocks: AsyncIterator[bytes], *, declared: str, max_bytes: int) -> None:
        self._blocks = blocks
        self._declared = declared_family(declared)
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self.size = 0
        self.content_type = ""

    @property
    def sha256(self) -> str:
        """The hash of all blocks passed on, in hex."""
        return self._digest.hexdigest()

    async def pass_on(self) -> AsyncIterator[bytes]:
        """Yield the blocks; raises `Problem` 413 above the limit, 415 or 422 for content that is no video or photo."""
        loop = asyncio.get_running_loop()
        hashed: asyncio.Future[None] | None = None
        async for block in self._blocks:
            if self.size == 0:
                self.content_type = self._recognise(block[:SNIFF_BYTES])
            self.size += len(block)
            if self.size > self._max_bytes:
                raise too_large(self._max_bytes)
            if hashed is not None:
                await hashed
            hashed = loop.run_in_executor(None, self._digest.update, block)
            yield block
        if hashed is None:
            raise rejected("empty_file", "The file is empty.")
        await hashed

    def _recognise(self, head: bytes) -> str:
        found = sniff(head)
        if found is None and self._declared == "undeclared":
            raise _unsupported("The file is neither a video nor a photo.")
        if found is None:
            raise rejected("not_a_media_file", "The content is neither a video nor a photo.")
        if self._declared not in {"undeclared", found.split("/")[0]}:
            raise rejected("content_type_mismatch", f"The content is {found}, not of the declared type.")
        return found


async def store_upload(
    store: ObjectStore, blocks: AsyncIterator[bytes], *, declared: str, key: str, max_bytes: int
) -> StoredUpload:
    """Stream `blocks` to a temporary key, then move the object to `key`.

    Whatever ends it before the move leaves nothing behind; the temporary key is swept later when the process dies. Raises
    `Problem` 413, 415, 422, or 503 when the storage fails, and whatever `blocks` raises.
    """
    temporary = f"{TEMPORARY_PREFIX}/{uuid4()}"
    intake = _Intake(blocks, declared=declared, max_bytes=max_bytes)
    await store.write(temporary, intake.pass_on())
    try:
        await store.move(temporary, key)
    except BaseException:
        await asyncio.shield(store.delete(temporary))
        raise
    return StoredUpload(key, intake.size, intake.sha256, intake.content_type)
