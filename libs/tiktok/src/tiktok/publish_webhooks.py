"""What a webhook says about a publication: the events ``post.publish.*``, with TikTok's own misspelling."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tiktok.webhooks import Json, RefusalKind, WebhookRefused

PREFIX: Final = "post.publish."

_MAX_PUBLISH_ID = 200
"""TikTok documents at most 64 characters."""
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_DIGITS = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class Claim(StrEnum):
    """What is claimed; the values are TikTok's event names without their prefix."""

    FAILED = "failed"
    COMPLETE = "complete"
    """Posted; of a draft it may come several times."""
    DELIVERED = "inbox_delivered"
    PUBLIC = "publicly_available"
    """Anybody can see it now; also when its creator makes it public later."""
    NOT_PUBLIC = "no_longer_publicaly_available"


_SPELLED_RIGHT: Final = {"no_longer_publicly_available": Claim.NOT_PUBLIC, "publicaly_available": Claim.PUBLIC}
"""In case TikTok mends its spelling, or makes the same mistake twice."""


@dataclass(frozen=True, slots=True)
class PublishClaim:
    """A claim about one publication. ``video_id`` is text; ``publish_type`` is ``DIRECT_PUBLISH`` or ``INBOX_SHARE``."""

    claim: Claim
    publish_id: str
    publish_type: str | None = None
    fail_reason: str | None = None
    video_id: str | None = None


def publish_claim(event: str, content: Json | str) -> PublishClaim | None:
    """Return what the event claims, None for an event that is not about a publication or not known yet.

    A field that is not as documented counts as left out. Raises WebhookRefused ``MALFORMED`` without a ``publish_id``.
    """
    name = event.removeprefix(PREFIX)
    if name == event:
        return None
    claim = _SPELLED_RIGHT.get(name) or next((known for known in Claim if known == name), None)
    if claim is None:
        return None
    fields = content if isinstance(content, dict) else {}
    publish_id = fields.get("publish_id")
    if not isinstance(publish_id, str) or not 0 < len(publish_id) <= _MAX_PUBLISH_ID:
        raise WebhookRefused(RefusalKind.MALFORMED, "The content holds no publish_id.")
    return PublishClaim(
        claim,
        publish_id,
        publish_type=_word(fields.get("publish_type")),
        fail_reason=_word(fields.get("reason")) if claim is Claim.FAILED else None,
        video_id=_video_id(fields.get("post_id")),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) is not None else None


def _video_id(value: Any) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and _DIGITS.fullmatch(text) is not None else None
