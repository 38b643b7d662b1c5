"""What a fetched file is by its first bytes: a video that TikTok takes, or why not."""

HEAD_BYTES = 128
"""So many first bytes tell, in whatever pieces they come."""

MP4, QUICKTIME, WEBM = "video/mp4", "video/quicktime", "video/webm"
_EBML = b"\x1a\x45\xdf\xa3"
_DOCTYPE = b"\x42\x82"
_PICTURE_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})
_MP4_BRANDS = (b"mp41", b"mp42")
"""Of a file that says that it may be read as MP4, too, whatever its major brand."""
_FOREIGN_BRANDS = (b"3g", b"mj")
"""How the major brands of 3GP, 3G2 and MJ2 begin, as the check of uploads knows them."""
_OLD_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})


def container_of(head: bytes) -> str | None:
    """Return the media type that a file's first bytes show, None unless it is MP4, MOV or WebM."""
    kind = head[4:8]
    if kind == b"ftyp":
        return _by_brand(head)
    if kind in _OLD_QUICKTIME:
        return QUICKTIME
    return WEBM if head.startswith(_EBML) and _doctype(head) == b"webm" else None


def _by_brand(head: bytes) -> str | None:
    brand, others = head[8:12], head[16 : int.from_bytes(head[:4])]
    if brand in _PICTURE_BRANDS:
        return None
    if brand == b"qt  ":
        return QUICKTIME
    may_be_mp4 = not brand.startswith(_FOREIGN_BRANDS) or any(mp4 in others for mp4 in _MP4_BRANDS)
    return MP4 if may_be_mp4 else None


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
