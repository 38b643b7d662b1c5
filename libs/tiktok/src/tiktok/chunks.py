"""How a file is cut for TikTok: few rules, and a trap between 64 and 128 MB."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_VIDEO_BYTES: Final = 4 * 1024**3
SINGLE_CHUNK_MAX_BYTES: Final = 64_000_000
CHUNK_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Bytes ``first`` to ``last`` (both included) of the file, the ``index``-th chunk from 0."""

    index: int
    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """``count`` chunks of ``chunk_size`` bytes for a file of ``size`` bytes; the last one carries the remainder."""

    size: int
    chunk_size: int
    count: int

    def chunk(self, index: int) -> ChunkRange:
        """Return the chunk with this index. Raises IndexError outside 0 to ``count`` - 1."""
        if not 0 <= index < self.count:
            raise IndexError(f"chunk {index} of {self.count}")
        first = index * self.chunk_size
        return ChunkRange(index, first, self.size - 1 if index == self.count - 1 else first + self.chunk_size - 1)

    def chunks_from(self, offset: int = 0) -> Iterator[ChunkRange]:
        """Yield what is left to send when TikTok has ``offset`` bytes; the first one begins right there.

        Raises ValueError when the offset is outside the file.
        """
        if not 0 <= offset <= self.size:
            raise ValueError(f"offset {offset} of {self.size} bytes")
        if offset == self.size:
            return
        index = min(offset // self.chunk_size, self.count - 1)
        yield ChunkRange(index, offset, self.chunk(index).last)
        for following in range(index + 1, self.count):
            yield self.chunk(following)

    @property
    def ranges(self) -> tuple[ChunkRange, ...]:
        """All chunks in the order in which they have to be sent."""
        return tuple(self.chunks_from(0))


def plan_chunks(size: int) -> ChunkPlan:
    """Return the plan for a file of ``size`` bytes that TikTok accepts whether its MB is decimal or binary.

    Up to 64,000,000 bytes one chunk, else chunks of 10,000,000 bytes with the remainder in the last one. Raises
    ValueError for an empty file or one beyond 4 GiB.
    """
    if not 0 < size <= MAX_VIDEO_BYTES:
        raise ValueError(f"TikTok takes files of 1 to {MAX_VIDEO_BYTES} bytes, not {size}")
    if size <= SINGLE_CHUNK_MAX_BYTES:
        return ChunkPlan(size, size, 1)
    return ChunkPlan(size, CHUNK_BYTES, size // CHUNK_BYTES)
