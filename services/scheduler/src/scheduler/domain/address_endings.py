"""What the ending of an address lets one expect: files that TikTok does not take are told of before it has fetched them."""

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from scheduler.domain.finding import Finding
from scheduler.domain.post_content import PostInput

_PHOTOS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".webp"})
_OTHER_PICTURES = frozenset(
    {".png", ".apng", ".gif", ".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".svg", ".jxl", ".jp2", ".ico", ".psd"}
)
_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".webm"})
_OTHER_VIDEOS = frozenset({".avi", ".mkv", ".wmv", ".flv", ".mpg", ".mpeg", ".ts", ".3gp", ".ogv", ".m3u8", ".mpd"})
_NO_PHOTO = _OTHER_PICTURES | _VIDEOS | _OTHER_VIDEOS
_NO_VIDEO = _OTHER_VIDEOS | _PHOTOS | _OTHER_PICTURES


def unlikely_formats(post: PostInput) -> list[Finding]:
    """Return a warning for each address whose path ends as no photo, or video, does that TikTok takes.

    An ending proves nothing, so it never refuses a post; one that is not known, or none, says nothing.
    """
    photos = [(f"photo_urls.{place}", url) for place, url in enumerate(post.photo_urls)]
    found = [_photo(field, ending) for field, url in photos if (ending := _ending(url)) in _NO_PHOTO]
    if post.source_url and (ending := _ending(post.source_url)) in _NO_VIDEO:
        found.append(_video(ending))
    return found


def _ending(url: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    except ValueError:
        return ""


def _photo(field: str, ending: str) -> Finding:
    return Finding(
        field,
        "format_may_be_refused",
        f"TikTok takes photos in JPEG and WebP alone; this address ends in {ending}.",
        "If the file is what its name says, save it as JPEG or WebP: it is fetched when the post is due, and refused then.",
    )


def _video(ending: str) -> Finding:
    return Finding(
        "source_url",
        "format_may_be_refused",
        f"TikTok takes videos in MP4, MOV and WebM alone; this address ends in {ending}.",
        "If the file is what its name says, convert it: it is fetched when the post is due, and refused then.",
    )
