"""What an API key may do, and what a TikTok grant has to allow."""

from collections.abc import Iterable
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


def missing_scopes(granted: Iterable[str], required: Iterable[str]) -> tuple[str, ...]:
    """Return the required TikTok scopes that a grant lacks, in their order."""
    have = set(granted)
    return tuple(scope for scope in required if scope not in have)
