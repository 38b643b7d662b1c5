"""What is special about photo posts: texts of their own, a cover by its place, only one of the toggles."""

from collections.abc import Iterable

from scheduler.domain.caption import utf16_units
from scheduler.domain.finding import Finding
from scheduler.domain.post_content import PostInput

MAX_DESCRIPTION_UNITS = 4000
"""Of caption, hashtags and mentions, which are a photo post's description."""
MAX_PHOTO_TITLE_UNITS = 90

ONLY_FOR_PHOTOS = ("photo_title", "photo_cover_index", "auto_add_music")
NOT_FOR_PHOTOS = ("disable_duet", "disable_stitch", "cover_timestamp_ms")


def check_photo_options(post: PostInput) -> list[Finding]:
    """Return options that do not go with the post's media, and what is wrong with those of photos.

    A draft without any media may still become either.
    """
    if not post.photo_urls:
        is_video = post.has_media or post.source_url
        return [_only_for_photos(name) for name in _given(post, ONLY_FOR_PHOTOS)] if is_video else []
    findings = [_not_for_photos(name) for name in _given(post, NOT_FOR_PHOTOS)]
    units = utf16_units(post.photo_title or "")
    if units > MAX_PHOTO_TITLE_UNITS:
        message = f"The title makes {units} UTF-16 units; TikTok allows {MAX_PHOTO_TITLE_UNITS}."
        hint = "Shorten it; the caption may have 4000."
        findings.append(Finding("photo_title", "photo_title_too_long", message, hint))
    if post.photo_cover_index is not None and post.photo_cover_index >= len(post.photo_urls):
        message = f"There is no photo {post.photo_cover_index}; the first of {len(post.photo_urls)} is 0."
        findings.append(
            Finding("photo_cover_index", "cover_beyond_end", message, "Choose the place of a photo in photo_urls.")
        )
    return findings


def _given(post: PostInput, names: Iterable[str]) -> list[str]:
    """Return those options that are given: the first photo and the first moment are choices, too."""
    return [name for name in names if getattr(post, name) is not None and getattr(post, name) is not False]


def _only_for_photos(name: str) -> Finding:
    return Finding(name, "only_for_photos", "This option belongs to photo posts.", "Leave it out, or give photo_urls.")


def _not_for_photos(name: str) -> Finding:
    hint = "Leave it out; of the toggles photos have disable_comment alone, and the cover is photo_cover_index."
    return Finding(name, "not_for_photos", "TikTok has no such option for photo posts.", hint)
