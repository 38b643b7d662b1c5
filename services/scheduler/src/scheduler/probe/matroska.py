"""How long a WebM or Matroska file says that it is."""

HEAD_BYTES = 4096
MAX_SIZE_BYTES = 8
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def claimed_bytes(head: bytes) -> int:
    """Return how many bytes a file has at least by its own word, 0 when it does not say, as one that was written as a stream."""
    if not head.startswith(_EBML):
        return 0
    size, begin = _size(head, len(_EBML))
    segment = begin + size
    if head[segment : segment + len(_SEGMENT)] != _SEGMENT:
        return 0
    size, begin = _size(head, segment + len(_SEGMENT))
    return begin + size if size else 0


def _size(head: bytes, at: int) -> tuple[int, int]:
    """Return the size of an element that stands at `at`, 0 for an unknown one, and where its content begins."""
    length = 9 - int.from_bytes(head[at : at + 1]).bit_length()
    unknown = (1 << 7 * length) - 1
    size = int.from_bytes(head[at : at + length]) & unknown
    return (0 if length > MAX_SIZE_BYTES or size == unknown else size), at + length
