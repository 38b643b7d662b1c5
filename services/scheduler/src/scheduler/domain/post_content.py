"""What a client asks to be published, as the rules see it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PostInput:
    """The fields of a post as given; times are instants or, for `scheduled_time`, None while a draft has none."""

    caption: str = ""
    hashtags: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    privacy_level: str | None = None
    has_media: bool = False
    source_url: str | None = None
    photo_urls: tuple[str, ...] = ()
    mode: str = "direct"
    transfer: str = "upload"
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    brand_content_toggle: bool = False
    brand_organic_toggle: bool = False
    is_aigc: bool = False
    cover_timestamp_ms: int | None = None
    photo_title: str | None = None
    photo_cover_index: int | None = None
    auto_add_music: bool = False
    scheduled_time: datetime | None = None
    publish_before: datetime | None = None
    draft: bool = False
