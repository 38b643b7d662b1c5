"""Checks of a post against what its creator may post now."""

from collections.abc import Collection

from publisher.domain.outcomes import Fail, Reason

PRIVATE = "SELF_ONLY"


def check(
    *,
    privacy_level: str | None,
    privacy_options: Collection[str],
    duration_ms: int | None,
    max_duration_seconds: int,
    is_branded: bool,
) -> Fail | None:
    """Return why TikTok would refuse or drop the post, None when nothing speaks against it."""
    if privacy_level not in privacy_options:
        return Fail(
            Reason(
                "tiktok_privacy_level_option_mismatch",
                f"The privacy level {privacy_level} is not available to this creator.",
                f"Choose one of: {', '.join(privacy_options)}.",
            ),
            retryable=False,
        )
    if is_branded and privacy_level == PRIVATE:
        return Fail(
            Reason(
                "branded_content_must_be_public",
                "Branded content cannot be visible to its creator only, as every post is in sandbox mode.",
                "Choose another privacy level, or switch brand_content_toggle off; in sandbox mode only the latter helps.",
            ),
            retryable=False,
        )
    if duration_ms is not None and duration_ms > max_duration_seconds * 1000:
        return Fail(
            Reason(
                "tiktok_duration_check_failed",
                f"The video is {duration_ms / 1000:.1f} s long; this creator may post up to {max_duration_seconds} s.",
                "Shorten the video.",
            ),
            retryable=False,
        )
    return None
