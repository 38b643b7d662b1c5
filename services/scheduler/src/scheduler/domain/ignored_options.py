"""What TikTok does not look at: drafts for a creator's inbox take few options."""

from scheduler.domain.finding import Finding
from scheduler.domain.post_content import PostInput

_IGNORED_IN_INBOX = (
    "caption",
    "hashtags",
    "mentions",
    "privacy_level",
    "disable_comment",
    "disable_duet",
    "disable_stitch",
    "brand_content_toggle",
    "brand_organic_toggle",
    "is_aigc",
    "cover_timestamp_ms",
)
_IGNORED_OF_PHOTOS_IN_INBOX = (
    "privacy_level",
    "disable_comment",
    "brand_content_toggle",
    "brand_organic_toggle",
    "auto_add_music",
)


def ignored_options(post: PostInput) -> list[Finding]:
    """Return warnings: what TikTok will not look at in this mode. They never refuse a post."""
    if post.mode != "inbox":
        return []
    ignored = _IGNORED_OF_PHOTOS_IN_INBOX if post.photo_urls else _IGNORED_IN_INBOX
    given = [name for name in ignored if getattr(post, name)]
    if not given:
        return []
    message = f"TikTok takes no such options for drafts: {', '.join(given)}."
    return [Finding("mode", "ignored_in_inbox_mode", message, "Their creator sets these in the TikTok app.")]
