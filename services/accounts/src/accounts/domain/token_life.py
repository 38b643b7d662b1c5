"""When a TikTok access token is to be refreshed: ahead of its end, by the lifetime TikTok gave and never by a constant."""

from dataclasses import dataclass
from datetime import datetime, timedelta

AHEAD_SHARE = 0.25
LIFE_MAX = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class TokenLife:
    """When a token was obtained, when it is due for a refresh and when it ends."""

    obtained_at: datetime
    refresh_due_at: datetime
    expires_at: datetime


def bounded_life(seconds: float) -> timedelta:
    """Return a lifetime that TikTok gave as a duration between nothing and ten years."""
    return timedelta(seconds=min(max(seconds, 0), LIFE_MAX.total_seconds()))


def token_life(obtained_at: datetime, expires_in: float, ahead: timedelta) -> TokenLife:
    """Return the life of a token that lives `expires_in` seconds from `obtained_at`.

    It is due `ahead` of its end, or when a quarter of its life is left, whichever is later: a token that lives minutes would
    otherwise be refreshed at every use.
    """
    life = bounded_life(expires_in)
    expires_at = obtained_at + life
    return TokenLife(obtained_at, expires_at - min(ahead, life * AHEAD_SHARE), expires_at)
