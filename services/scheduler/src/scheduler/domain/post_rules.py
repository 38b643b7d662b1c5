"""The checks of a post at creation: each broken rule by its code, with a hint."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from scheduler.domain.caption import MAX_TITLE_UNITS, join_title, utf16_units
from scheduler.domain.finding import Finding
from scheduler.domain.photo_rules import MAX_DESCRIPTION_UNITS, check_photo_options
from scheduler.domain.post_content import PostInput
from scheduler.domain.source_url import check_source_url

SELF_ONLY = "SELF_ONLY"
_WORD = re.compile(r"[^\s#@\x00-\x1f\x7f]{1,100}")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


def check_post(post: PostInput, *, allowed_hosts: AbstractSet[str] = frozenset()) -> list[Finding]:
    """Return every broken rule of `post`, in the order of its fields; empty means that it may be stored.

    Drafts may lack time, source and privacy; what they have is checked all the same. Nothing here depends on another
    object (account, media): those checks are the use case's.
    """
    return [
        *_text(post),
        *_privacy(post),
        *_source(post, allowed_hosts),
        *check_photo_options(post),
        *_transfer(post),
        *_times(post),
    ]


def check_media_options(
    *, cover_timestamp_ms: int | None, duration_ms: int | None, max_seconds: int | None = None
) -> list[Finding]:
    """Return what does not fit the video: a cover beyond its end, a longer one than its creator may post (`max_seconds`).

    An unknown duration is no finding.
    """
    findings: list[Finding] = []
    if duration_ms is not None and cover_timestamp_ms is not None and cover_timestamp_ms > duration_ms:
        findings.append(
            Finding(
                "cover_timestamp_ms",
                "cover_beyond_end",
                f"The cover lies at {cover_timestamp_ms} ms, the video ends at {duration_ms} ms.",
                "Choose a moment within the video.",
            )
        )
    if duration_ms is not None and max_seconds is not None and duration_ms > max_seconds * 1000:
        findings.append(
            Finding(
                "media_id",
                "video_too_long_for_creator",
                f"The video is {duration_ms / 1000:.1f} s long; this creator may post up to {max_seconds} s.",
                "Choose a shorter video.",
            )
        )
    return findings


def check_privacy_options(privacy_level: str | None, options: Iterable[str]) -> Finding | None:
    """Return a finding when the creator may not choose this privacy level; `options` come from TikTok's creator info."""
    allowed = tuple(options)
    if privacy_level is None or privacy_level in allowed:
        return None
    return Finding(
        "privacy_level",
        "privacy_not_available",
        f"This creator cannot post with {privacy_level}.",
        f"Available: {', '.join(allowed)}." if allowed else "The creator has no privacy level to offer now.",
    )


def branded_content_must_be_public(hint: str) -> Finding:
    """Return the finding of branded content that nobody but its creator would see."""
    message = "Branded content cannot be visible to its creator only."
    return Finding("privacy_level", "branded_content_must_be_public", message, hint)


def _text(post: PostInput) -> list[Finding]:
    findings: list[Finding] = []
    texts: tuple[tuple[str, Iterable[str]], ...] = (
        ("caption", (post.caption,)),
        ("hashtags", post.hashtags),
        ("mentions", post.mentions),
        ("source_url", (post.source_url or "",)),
        ("photo_urls", post.photo_urls),
        ("photo_title", (post.photo_title or "",)),
    )
    for field, values in texts:
        if any(_FORBIDDEN.search(value) for value in values):
            findings.append(
                Finding(
                    field,
                    "invalid_characters",
                    "The text holds a character that cannot be stored (NUL, lone surrogate).",
                    "Leave that character out.",
                )
            )
    for field, mark, words in (("hashtags", "#", post.hashtags), ("mentions", "@", post.mentions)):
        findings += [
            Finding(
                f"{field}.{index}",
                f"invalid_{field.removesuffix('s')}",
                "A tag is one word of at most 100 characters without spaces, # and @.",
                f"The leading {mark} may be left out.",
            )
            for index, word in enumerate(words)
            if not _WORD.fullmatch(word.removeprefix(mark))
        ]
    units = utf16_units(join_title(post.caption, post.hashtags, post.mentions))
    allowed = MAX_DESCRIPTION_UNITS if post.photo_urls else MAX_TITLE_UNITS
    if units > allowed:
        findings.append(
            Finding(
                "caption",
                "caption_too_long",
                f"Caption, hashtags and mentions make {units} UTF-16 units; TikTok allows {allowed}.",
                "Shorten the caption or leave out hashtags; an emoji counts 2 or more.",
            )
        )
    return findings


def _privacy(post: PostInput) -> list[Finding]:
    if post.mode == "inbox":
        return []
    if post.privacy_level is None and not post.draft:
        return [
            Finding(
                "privacy_level",
                "privacy_required",
                "TikTok allows no default: the privacy level must be chosen for each post.",
                "GET /accounts/{id}/creator-info lists what this creator may choose.",
            )
        ]
    if post.brand_content_toggle and post.privacy_level == SELF_ONLY:
        return [branded_content_must_be_public("Choose another privacy level, or switch brand_content_toggle off.")]
    return []


def _source(post: PostInput, allowed_hosts: AbstractSet[str]) -> list[Finding]:
    given = [
        name
        for name, present in (("media_id", post.has_media), ("source_url", post.source_url), ("photo_urls", post.photo_urls))
        if present
    ]
    if not given and not post.draft:
        return [
            Finding(
                "media_id", "source_required", "The post has nothing to publish.", "Give media_id, source_url or photo_urls."
            )
        ]
    if len(given) > 1:
        return [
            Finding(
                given[1],
                "one_source_only",
                f"A post has one source; given are {' and '.join(given)}.",
                "Leave out all but one.",
            )
        ]
    urls = [("source_url", post.source_url)] if post.source_url else []
    urls += [(f"photo_urls.{index}", url) for index, url in enumerate(post.photo_urls)]
    by_tiktok = post.transfer == "pull" or bool(post.photo_urls)
    found = [check_source_url(url, field, allowed_hosts, by_tiktok=by_tiktok) for field, url in urls]
    return [finding for finding in found if finding is not None]


def _transfer(post: PostInput) -> list[Finding]:
    if post.transfer == "pull" and post.has_media:
        return [
            Finding(
                "transfer",
                "pull_needs_source_url",
                "TikTok can pull only what lies at a public address.",
                "Leave transfer out, or give source_url instead of media_id.",
            )
        ]
    return []


def _times(post: PostInput) -> list[Finding]:
    if post.scheduled_time is None:
        if post.draft:
            return []
        return [
            Finding(
                "scheduled_time",
                "scheduled_time_required",
                "The post has no time.",
                "Give scheduled_time, or save it with draft: true.",
            )
        ]
    if post.publish_before is not None and post.publish_before <= post.scheduled_time:
        return [
            Finding(
                "publish_before",
                "publish_before_too_early",
                "The deadline is not after the scheduled time.",
                "Leave publish_before out (24 hours after the time), or choose a later one.",
            )
        ]
    return []
