"""When a TikTok access token is to be refreshed: ahead of its end, by the lifetime TikTok gave and never by a constant."""

from dataclasses import dataclass
from datetime import datetime, timedelta

AHEAD_SHARE = 0.25
SPREAD_SHARE = 0.1
LIFE_MAX = timedelta(days=3650)
PAUSE = timedelta(seconds=1)
"""Between two refreshes of one account, however short the lives that TikTok gives."""

BACKOFF_FIRST_SECONDS = 5.0
BACKOFF_MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class TokenLife:
    """When a pair was obtained, when whoever asks for its token has it refreshed, and when the token ends.

    `next_refresh_at` is the moment at which the service refreshes it by itself, before anyone has to wait for it.
    """

    obtained_at: datetime
    next_refresh_at: datetime
    refresh_due_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime


def bounded_life(seconds: float) -> timedelta:
    """Return a lifetime that TikTok gave as a duration between nothing and ten years."""
    return timedelta(seconds=min(max(seconds, 0), LIFE_MAX.total_seconds()))


def token_life(
    obtained_at: datetime, *, expires_in: float, refresh_expires_in: float, ahead: timedelta, spread: float
) -> TokenLife:
    """Return the life of a pair whose tokens live so many seconds from `obtained_at`.

    It is due `ahead` of the end of the token that ends first, or when a quarter of that one's life is left, whichever is later: a
    token that lives minutes would otherwise be refreshed at every use. The service itself goes first, by up to a tenth of the
    life: `spread`, a random number from 0 to 1, keeps accounts connected together from being refreshed together.
    """
    life, refresh_life = bounded_life(expires_in), bounded_life(refresh_expires_in)
    used = min(life, refresh_life or life)
    due_at = obtained_at + used - min(ahead, used * AHEAD_SHARE)
    return TokenLife(
        obtained_at,
        max(due_at - used * SPREAD_SHARE * min(max(spread, 0.0), 1.0), obtained_at + PAUSE),
        due_at,
        obtained_at + life,
        obtained_at + refresh_life,
    )


def refresh_backoff(failures: int, *, spread: float, at_least: float = 0.0) -> float:
    """Return the seconds until a refresh that failed `failures` times in a row is tried again: 5 s doubling to 5 minutes.

    `spread`, a random number from 0 to 1, takes up to half of it away; `at_least` is what TikTok asked for.
    """
    ceiling = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(max(failures - 1, 0), 10), BACKOFF_MAX_SECONDS)
    return max(ceiling * (1.0 - 0.5 * spread), at_least)
