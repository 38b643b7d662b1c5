"""What an upload is: the type the client declares and the type its first bytes show."""

SNIFF_BYTES = 64
"""So many first bytes are enough for every signature below."""

_UNDECLARED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-wmv"),
    (4, b"moov", "video/quicktime"),
    (4, b"mdat", "video/quicktime"),
    (4, b"wide", "video/quicktime"),
    (4, b"free", "video/quicktime"),
    (4, b"skip", "video/quicktime"),
)
_IMAGE_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})

_VIDEO_BRANDS = (
    (b"qt  ", "video/quicktime"),
    (b"3g2", "video/3gpp2"),
    (b"3g", "video/3gpp"),
    (b"mj", "video/mj2"),
)
"""How the major brand of a relative of MP4 begins; every other brand is MP4's."""


def declared_family(content_type: str) -> str | None:
    """Return `video` or `image` for a declared type, `undeclared` when it says nothing, None when it is anything else."""
    essence = content_type.split(";", maxsplit=1)[0].strip().lower()
    if essence in _UNDECLARED:
        return "undeclared"
    family = essence.split("/")[0]
    return family if family in {"video", "image"} and "/" in essence else None


def _sniff_iso(head: bytes) -> str:
    brand = head[8:12]
    if brand in _IMAGE_BRANDS:
        return f"image/{'avif' if brand.startswith(b'avi') else 'heic'}"
    return next((media_type for begin, media_type in _VIDEO_BRANDS if brand.startswith(begin)), "video/mp4")


def sniff(head: bytes) -> str | None:
    """Return the media type that an object's first bytes show, None when they show no video or photo."""
    if head[4:8] == b"ftyp":
        return _sniff_iso(head)
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    for offset, signature, media_type in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return media_type
    return None
