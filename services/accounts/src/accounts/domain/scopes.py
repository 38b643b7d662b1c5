"""What an API key may do, and what a TikTok grant has to allow."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """Scopes of API keys; a session has all of them."""

    POSTS_READ = "posts:read"
    POSTS_WRITE = "posts:write"
    MEDIA_WRITE = "media:write"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    ANALYTICS_READ = "analytics:read"
    AUDIT_READ = "audit:read"


_OF_MODES = {"video.publish": "direct", "video.upload": "inbox"}


@dataclass(frozen=True, slots=True)
class Unusable:
    """A mode of posting that a grant does not allow, for want of this TikTok scope."""

    mode: str
    scope: str

    def as_warning(self) -> dict[str, str]:
        """Say so to whoever has just connected the account."""
        message = (
            f"Posts of mode {self.mode} need the right {self.scope}, which was not granted."
            " To use them, connect the account again and leave it ticked."
        )
        return {"code": "scope_not_granted", "scope": self.scope, "message": message}


def unusable_modes(granted: Iterable[str]) -> tuple[Unusable, ...]:
    """Return the modes of posting that a grant leaves unusable."""
    have = set(granted)
    return tuple(Unusable(mode, scope) for scope, mode in _OF_MODES.items() if scope not in have)


def taken_away(scopes: Iterable[str]) -> str:
    """Return what an owner is told of a grant that lacks these scopes, which posting needs."""
    return f"Posting needs rights that were taken away: {', '.join(scopes)}. Connect the account again and leave them ticked."


def missing_scopes(granted: Iterable[str], required: Iterable[str]) -> tuple[str, ...]:
    """Return the required TikTok scopes that a grant lacks, in their order."""
    have = set(granted)
    return tuple(scope for scope in required if scope not in have)
