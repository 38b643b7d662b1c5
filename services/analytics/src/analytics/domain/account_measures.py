"""What was measured of an account, and by how much it changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class AccountCounts:
    """An account's four figures, or by how much they changed."""

    follower_count: int
    following_count: int
    likes_count: int
    video_count: int

    def minus(self, earlier: "AccountCounts") -> "AccountCounts":
        """Return the change since `earlier`."""
        return AccountCounts(
            self.follower_count - earlier.follower_count,
            self.following_count - earlier.following_count,
            self.likes_count - earlier.likes_count,
            self.video_count - earlier.video_count,
        )


@dataclass(frozen=True, slots=True)
class AccountMeasure:
    """The figures as TikTok told them at a moment."""

    collected_at: datetime
    counts: AccountCounts


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far a change looks back, and how much older than that the measure may be which it is counted from."""

    distance: timedelta
    tolerance: timedelta


LOOKBACKS: Mapping[str, Lookback] = {
    "1d": Lookback(timedelta(days=1), timedelta(hours=6)),
    "7d": Lookback(timedelta(days=7), timedelta(days=1)),
    "30d": Lookback(timedelta(days=30), timedelta(days=3)),
}


@dataclass(frozen=True, slots=True)
class Change:
    """By how much the figures changed since the measure of that moment."""

    since: datetime
    counts: AccountCounts


def change(newest: AccountMeasure, earlier: AccountMeasure | None, lookback: Lookback) -> Change | None:
    """Return the change since `earlier`, the last measure at least the lookback's distance before the newest.

    None when there is no such measure, or when it is older than the tolerance allows: a change is never made up.
    """
    if earlier is None or earlier.collected_at < newest.collected_at - lookback.distance - lookback.tolerance:
        return None
    return Change(earlier.collected_at, newest.counts.minus(earlier.counts))


def flat(counts: AccountCounts | None) -> dict[str, int | None]:
    """Return figures by name, null each where there are none."""
    if counts is None:
        return dict.fromkeys(AccountCounts.__slots__)
    return {
        "follower_count": counts.follower_count,
        "following_count": counts.following_count,
        "likes_count": counts.likes_count,
        "video_count": counts.video_count,
    }
