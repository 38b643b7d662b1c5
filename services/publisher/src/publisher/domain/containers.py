"""What a fetched file is by its first bytes: a video that TikTok takes, or why not."""

HEAD_BYTES = 128
"""So many first bytes tell, in whatever pieces they come."""

MP4, QUICKTIME, WEBM = "video/mp4", "video/quicktime", "video/webm"
_EBML = b"\x1a\x45\xdf\xa3"
_DOCTYPE = b"\x42\x82"
_PICTURE_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})
_OLD_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})


def container_of(head: bytes) -> str | None:
    """Return the media type that a file's first bytes show, None unless it is MP4, MOV or WebM."""
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        if brand in _PICTURE_BRANDS:
            return None
        return QUICKTIME if brand == b"qt  " else MP4
    if kind in _OLD_QUICKTIME:
        return QUICKTIME
    return WEBM if head.startswith(_EBML) and _doctype(head) == b"webm" else None


def looks_like_text(head: bytes, content_type: str) -> bool:
    """Return whether this is a web page or another text rather than a file: its bytes, or what the server calls it."""
    essence = content_type.partition(";")[0].strip().lower()
    is_named_text = essence.startswith("text/") or essence in {"application/json", "application/xml", "application/xhtml+xml"}
    return is_named_text or head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"<", b"{", b"["}


def _doctype(head: bytes) -> bytes:
    """Return the document type of an EBML header (`webm` or `matroska`), empty when it is not among the first bytes."""
    at = head.find(_DOCTYPE)
    if at < 0 or at + 2 >= len(head):
        return b""
    length = head[at + 2] & 0x7F
    return head[at + 3 : at + 3 + length].rstrip(b"\0")
