"""Media of which no two are alike, made from a seed: the bytes of a publication say whose it is."""

import hashlib
import random
import struct
from dataclasses import dataclass
from pathlib import Path

from tiktok_simulator.sample_photo import make_photo
from tiktok_simulator.sample_video import make_video

SMALL, LARGE = 400_000, 66_000_000
"""One chunk, and several."""
_BLOCK = 1_000_000


@dataclass(frozen=True)
class Content:
    """A file in the served folder, and what the ledger must show of it."""

    path: Path
    sha256: str


class ContentMaker:
    """Writes videos and photos into a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._number = 0
        self._base = make_video(folder / "base.mp4", seconds=3.5, width=576, height=1024, seed=seed % 250).read_bytes()

    def video(self, size: int = SMALL) -> Content:
        """Write a video of about `size` bytes: the same pictures, and a box that players skip with bytes of its own."""
        path = self._next("mp4")
        left = max(64, size - len(self._base))
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for part in (self._base, struct.pack(">I4s", left + 8, b"free")):
                file.write(part)
                digest.update(part)
            while left:
                block = self._random.randbytes(min(left, _BLOCK))
                file.write(block)
                digest.update(block)
                left -= len(block)
        return Content(path, digest.hexdigest())

    def photo(self) -> Content:
        """Write a photo of measures of its own."""
        path = self._next("jpg")
        data = make_photo(
            "jpeg", width=360 + 2 * (self._number % 300), height=640 + 2 * (self._number // 300), seed=self._number
        )
        path.write_bytes(data)
        return Content(path, hashlib.sha256(data).hexdigest())

    def _next(self, suffix: str) -> Path:
        self._number += 1
        return self._folder / f"{self._number}.{suffix}"
