"""What TikTok checks in an init request: texts, options, photos, and the chunk rules."""

from typing import Any

from tiktok_simulator.answers import ApiError

TITLE_UNITS = 2200
PHOTO_TITLE_UNITS, PHOTO_DESCRIPTION_UNITS = 90, 4000
MAX_PHOTOS = 35
MAX_VIDEO_BYTES = 4 * 1024**3
MAX_CHUNKS = 1000
PHOTO_TOGGLES = ("disable_comment", "auto_add_music", "brand_content_toggle", "brand_organic_toggle")
_TOGGLES = (
    "disable_duet",
    "disable_stitch",
    "disable_comment",
    "brand_content_toggle",
    "brand_organic_toggle",
    "is_aigc",
)


def _invalid(message: str) -> ApiError:
    return ApiError("invalid_params", message)


def utf16_units(text: str) -> int:
    """Return the length as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2


def check_text(post_info: dict[str, Any], name: str, units: int) -> str:
    """Return a text of at most so many UTF-16 units, empty when absent. Raises ApiError."""
    text = post_info.get(name, "")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise _invalid(f"The {name} must be a string.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _invalid(f"The {name} must be valid text.")
    if utf16_units(text) > units:
        raise _invalid(f"The {name} is too long: at most {units} UTF-16 units.")
    return text


def check_toggles(given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of the toggles that are given. Raises ApiError for anything but true and false."""
    found = {name: given[name] for name in names if given.get(name) is not None}
    for name, value in found.items():
        if not isinstance(value, bool):
            raise _invalid(f"The {name} must be a boolean.")
    return found


def check_options(post_info: dict[str, Any]) -> dict[str, Any]:
    """Return the given toggles and the cover time. Raises ApiError for values of another type."""
    options = check_toggles(post_info, _TOGGLES)
    cover = post_info.get("video_cover_timestamp_ms")
    if cover is not None:
        if isinstance(cover, bool) or not isinstance(cover, int):
            raise _invalid("The video_cover_timestamp_ms must be an integer.")
        options["video_cover_timestamp_ms"] = cover
    return options


def check_photos(source_info: dict[str, Any]) -> tuple[list[object], int]:
    """Return the addresses, not judged yet, and the cover's index. Raises ApiError."""
    if source_info.get("source") != "PULL_FROM_URL":
        raise _invalid("The source of photos must be PULL_FROM_URL.")
    images = source_info.get("photo_images")
    if not isinstance(images, list) or not 1 <= len(images) <= MAX_PHOTOS:
        raise _invalid(f"The photo_images must be a list of 1 to {MAX_PHOTOS} URLs.")
    cover = _integer(source_info, "photo_cover_index")
    if not 0 <= cover < len(images):
        raise _invalid("The photo_cover_index must be the index of a photo.")
    return images, cover


def check_privacy(post_info: dict[str, Any], options: tuple[str, ...]) -> str:
    """Return the privacy level. Raises ApiError when it is missing or not one of the creator's options."""
    level = post_info.get("privacy_level")
    if not isinstance(level, str) or level not in options:
        raise ApiError(
            "privacy_level_option_mismatch",
            "Privacy level is not specified or not among the options that creator info returned.",
        )
    return level


def check_chunks(source_info: dict[str, Any], megabyte: int) -> tuple[int, int, int]:
    """Return (video_size, chunk_size, total_chunk_count) if they obey the rules. Raises ApiError with TikTok's words."""
    size, chunk, count = (_integer(source_info, name) for name in ("video_size", "chunk_size", "total_chunk_count"))
    if not 0 < size <= MAX_VIDEO_BYTES:
        raise _invalid("The video size is invalid")
    whole_in_one = chunk == size
    if not 0 < chunk <= 64 * megabyte or (chunk < 5 * megabyte and not whole_in_one) or chunk > size:
        raise _invalid("The chunk size is invalid")
    if count != size // chunk or not 1 <= count <= MAX_CHUNKS:
        raise _invalid("The total chunk count is invalid")
    if count == 1 and not whole_in_one:
        raise _invalid("The chunk size is invalid")
    return size, chunk, count


def _integer(source_info: dict[str, Any], name: str) -> int:
    value = source_info.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(f"The {name} is required and must be an integer.")
    return value
