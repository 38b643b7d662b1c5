"""What a JPEG or WebP file says of itself, read without decoding: nothing here trusts a length that the file claims."""

import struct
from dataclasses import dataclass

SOI, EOI, SOS, APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_ANIMATION, _EXIF = 0x02, 0x08
_ORIENTATION = 0x0112
_MAX_ENTRIES = 200


class Unreadable(Exception):
    """The file is not what its first bytes say."""


@dataclass(frozen=True, slots=True)
class PhotoHeader:
    """Size as stored, EXIF orientation (1 to 8), whether it moves, and whether its last byte is there."""

    width: int
    height: int
    orientation: int = 1
    animated: bool = False
    whole: bool = True

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as they are shown: orientations 5 to 8 lie on their side."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(content: bytes) -> PhotoHeader:
    """Return the header of a JPEG or WebP file; raises Unreadable."""
    try:
        return _webp(content) if content[:4] == b"RIFF" else _jpeg(content)
    except (struct.error, IndexError) as error:
        raise Unreadable from error


def _jpeg(content: bytes) -> PhotoHeader:
    size, orientation, at = None, 1, 2
    while True:
        if content[at] != 0xFF:
            raise Unreadable
        marker = content[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in _FRAMES:
            size = struct.unpack_from(">HH", content, at + 5)
        elif marker == APP1 and content[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(content[at + 10 : at + 2 + length])
        elif marker == SOS:
            break
        if length < 2:
            raise Unreadable
        at += 2 + length
    if size is None:
        raise Unreadable
    # Inside compressed data 0xFF is always followed by 0 or a restart marker, so the first end marker is the end.
    return PhotoHeader(size[1], size[0], orientation, whole=content.find(bytes((0xFF, EOI)), at) >= 0)


def _webp(content: bytes) -> PhotoHeader:
    (claimed,) = struct.unpack_from("<I", content, 4)
    kind, whole = content[12:16], claimed + 8 <= len(content)
    if content[8:12] != b"WEBP":
        raise Unreadable
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return PhotoHeader(width & 0x3FFF, height & 0x3FFF, whole=whole)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return PhotoHeader((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, whole=whole)
    if kind != b"VP8X":
        raise Unreadable
    flags = content[20]
    width = int.from_bytes(content[24:27], "little") + 1
    height = int.from_bytes(content[27:30], "little") + 1
    orientation = _orientation(_webp_exif(content)) if flags & _EXIF else 1
    return PhotoHeader(width, height, orientation, animated=bool(flags & _ANIMATION), whole=whole)


def _webp_exif(content: bytes) -> bytes:
    at = 12
    for _ in range(_MAX_ENTRIES):
        (length,) = struct.unpack_from("<I", content, at + 4)
        if content[at : at + 4] == b"EXIF":
            return content[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + length % 2
        if at + 8 > len(content):
            break
    return b""


def _orientation(tiff: bytes) -> int:
    """Return the orientation that EXIF data name, 1 (as stored) when they name none or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(min(entries, _MAX_ENTRIES)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
