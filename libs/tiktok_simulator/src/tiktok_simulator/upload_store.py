"""Bytes of uploads on disk: streamed in, hashed on the way, whole chunks or nothing."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tiktok_simulator.publications import FAILED, Publication
from tiktok_simulator.settings import Settings

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 2 * 1024 * 1024


class Superseded(Exception):
    """Another request for the same upload has begun since; nothing of this one is stored."""


class UploadGone(Exception):
    """The bytes stored so far are no longer on disk."""


class UploadStore:
    """One file per upload. Of a chunk that did not arrive whole nothing counts; the next one writes over it."""

    def __init__(self, settings: Settings) -> None:
        self._temporary = settings.upload_folder is None and settings.state_file is None
        self._keep = settings.keep_uploads
        self._keep_newest = settings.keep_newest_bytes
        self._kept: dict[str, Publication] = {}
        self._kept_bytes = 0
        self.folder = _folder(settings)
        self._hashes: dict[str, tuple[int, _Hash]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._active: dict[str, ChunkReceiver] = {}

    def path(self, publication: Publication) -> Path:
        """Return where the publication's bytes are."""
        return self.folder / f"{publication.upload_id}.bin"

    def photo_path(self, publication: Publication, index: int) -> Path:
        """Return where a photo's bytes are."""
        return self.folder / f"{publication.upload_id}.{index}.bin"

    async def begin(self, publication: Publication, length: int) -> "ChunkReceiver":
        """Return a receiver for the next ``length`` bytes. A receiver still at work on this upload is superseded.

        Raises UploadGone when what was stored before is not there any more.
        """
        key = publication.publish_id
        receiver = ChunkReceiver(self, publication, length, self._locks.setdefault(key, asyncio.Lock()))
        previous = self._active.get(key)
        if previous is not None:
            previous.superseded = True
        self._active[key] = receiver
        try:
            await receiver.open(self._hashes.get(key))
        except BaseException:
            self.end(receiver)
            raise
        return receiver

    def remember(self, receiver: "ChunkReceiver") -> None:
        """Keep the hash of a finished receiver, so that the next chunk goes on from it."""
        publication = receiver.publication
        self._hashes[publication.publish_id] = (publication.received, receiver.digest)

    def end(self, receiver: "ChunkReceiver") -> None:
        """Forget a receiver that has ended, one way or the other."""
        if self._active.get(receiver.publication.publish_id) is receiver:
            del self._active[receiver.publication.publish_id]

    def receiving(self, publication: Publication) -> int:
        """Return how many bytes of a chunk under way have arrived."""
        receiver = self._active.get(publication.publish_id)
        return receiver.arrived if receiver is not None else 0

    def under_way(self) -> list[dict[str, object]]:
        """Return the chunks that are arriving now."""
        return [
            {
                "publish_id": receiver.publication.publish_id,
                "first": receiver.first,
                "last": receiver.first + receiver.length - 1,
                "received": receiver.arrived,
            }
            for receiver in self._active.values()
        ]

    def discard(self, publication: Publication) -> None:
        """Drop what is held of a finished upload; its bytes too unless they are to be kept or among the newest."""
        self._hashes.pop(publication.publish_id, None)
        self._locks.pop(publication.publish_id, None)
        if self._keep:
            return
        if publication.status == FAILED:
            self._remove(publication)
        else:
            self.keep_for_now(publication)

    def keep_for_now(self, publication: Publication) -> None:
        """Keep the bytes of what was published, for the start page, until newer ones take their room."""
        if publication.publish_id in self._kept or not self.media(publication):
            return
        if publication.size > self._keep_newest:
            # No room would do: the others keep theirs.
            self._remove(publication)
            return
        self._kept[publication.publish_id] = publication
        self._kept_bytes += publication.size
        while self._kept and self._kept_bytes > self._keep_newest:
            oldest = self._kept.pop(next(iter(self._kept)))
            self._kept_bytes -= oldest.size
            self._remove(oldest)

    def media(self, publication: Publication) -> list[Path]:
        """Return the files of a publication that are still there, in order."""
        if publication.media_type == "photo":
            paths = [self.photo_path(publication, index) for index in range(len(publication.urls))]
        else:
            paths = [self.path(publication)]
        return [path for path in paths if path.exists()]

    def _remove(self, publication: Publication) -> None:
        for path in self.media(publication):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Drop all uploads; receivers at work are superseded."""
        for receiver in self._active.values():
            receiver.superseded = True
        self._active.clear()
        self._hashes.clear()
        self._locks.clear()
        self._kept.clear()
        self._kept_bytes = 0
        for path in self.folder.glob("*.bin"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove a temporary folder."""
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


class ChunkReceiver:
    """Takes the bytes of one chunk. Writing and hashing happen in a thread, in blocks of 2 MB, one at a time.

    ``feed`` and ``finish`` raise Superseded once another request has begun for the same upload. Always ``close`` it.
    """

    def __init__(self, store: UploadStore, publication: Publication, length: int, lock: asyncio.Lock) -> None:
        self.publication = publication
        self.first = publication.received
        self.length = length
        self.arrived = 0
        self.superseded = False
        self._store = store
        self._lock = lock
        self._buffer = bytearray()
        self._written = 0
        self._file = -1
        self.digest: _Hash = hashlib.sha256()
        self._writing: asyncio.Task[None] | None = None

    async def open(self, known: "tuple[int, _Hash] | None") -> None:
        """Open the file at the chunk's place, with the hash of all before it."""
        async with self._lock:
            path = self._store.path(self.publication)
            self._file = await asyncio.to_thread(_open_at, path, self.first)
            if known is not None and known[0] == self.first:
                self.digest = known[1].copy()
            else:
                self.digest = await asyncio.to_thread(_hash_of, path, self.first)

    async def feed(self, piece: bytes) -> None:
        """Take the next bytes; waits when the disk is slower than the network."""
        self.arrived += len(piece)
        self._buffer += piece
        if len(self._buffer) >= BLOCK_BYTES:
            await self._settle()
            block, self._buffer = self._buffer, bytearray()
            self._writing = asyncio.create_task(self._write(block))

    async def finish(self) -> None:
        """Write what is left; ``digest`` is then the hash of the file up to here."""
        await self._settle()
        await self._write(self._buffer)

    async def close(self) -> None:
        """Wait for a write under way and close the file."""
        self._store.end(self)
        writing = self._writing
        if writing is not None:
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _settle(self) -> None:
        if self._writing is not None:
            await self._writing

    async def _write(self, block: bytearray) -> None:
        async with self._lock:
            if self.superseded:
                raise Superseded
            await asyncio.to_thread(self._write_block, block)

    def _write_block(self, block: bytearray) -> None:
        view = memoryview(block)
        while view:
            written = os.pwrite(self._file, view, self.first + self._written)
            self.digest.update(view[:written])
            self._written += written
            view = view[written:]


def _folder(settings: Settings) -> Path:
    if settings.upload_folder is not None:
        folder = settings.upload_folder
    elif settings.state_file is not None:
        folder = settings.state_file.with_name(f"{settings.state_file.name}.uploads")
    else:
        return Path(tempfile.mkdtemp(prefix="tiktok-simulator-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open_at(path: Path, offset: int) -> int:
    """Open the file and cut it at ``offset``. Raises UploadGone when it is shorter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if os.fstat(file).st_size < offset:
        os.close(file)
        raise UploadGone(path.name)
    os.ftruncate(file, offset)
    return file


def _hash_of(path: Path, length: int) -> "_Hash":
    """Return the hash of the first ``length`` bytes of the file."""
    digest = hashlib.sha256()
    left = length
    with path.open("rb") as file:
        while left:
            block = file.read(min(left, BLOCK_BYTES))
            if not block:
                raise UploadGone(path.name)
            digest.update(block)
            left -= len(block)
    return digest
