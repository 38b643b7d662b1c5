"""Limits on calls and posts: so many in a sliding window, given out in order, with a forecast for whoever has to wait."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SHORTEST_WAIT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `allowed` in any `window` (seconds); `gap` (seconds) keeps two of them apart, so that they stay in order."""

    name: str
    allowed: int
    window: float
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stood when it was asked, by the database's clock.

    `calls` are the moments counted, oldest first, with the asker's own when it was `granted`; `ahead` how many have to come
    before the asker; nothing is given out before `not_before`.
    """

    granted: bool
    calls: Sequence[datetime]
    ahead: int
    not_before: datetime | None
    now: datetime

    def is_full(self, limit: Limit) -> bool:
        """Whether a further one would be too many."""
        return len(_counted(limit, self)) >= limit.allowed


def seconds_to_wait(limit: Limit, standing: Standing) -> float:
    """Return in how many seconds the asker's turn comes if all those ahead take theirs as soon as they may."""
    taken = _counted(limit, standing)
    for _ in range(standing.ahead + 1):
        taken.append(_next(limit, standing, taken))
    return max((taken[-1] - standing.now).total_seconds(), SHORTEST_WAIT_SECONDS)


def moments(limit: Limit, standing: Standing, deadlines: Iterable[datetime]) -> list[datetime]:
    """Return what counts now, oldest first, and when those in line get theirs if each takes it as soon as it may.

    One whose deadline comes first gets none, and holds up nobody.
    """
    taken = _counted(limit, standing)
    for deadline in deadlines:
        moment = _next(limit, standing, taken)
        if moment < deadline:
            taken.append(moment)
    return taken


def only_awaits_turn(limit: Limit, standing: Standing) -> bool:
    """Whether there is room for the asker and all ahead of it, so that it waits for nothing but its turn."""
    is_barred = standing.not_before is not None and standing.not_before > standing.now
    return not is_barred and len(_counted(limit, standing)) + standing.ahead < limit.allowed


def _next(limit: Limit, standing: Standing, taken: Sequence[datetime]) -> datetime:
    """Return when one more may be taken after those that are."""
    moment = max(standing.now, standing.not_before or standing.now)
    if taken:
        moment = max(moment, taken[-1] + timedelta(seconds=limit.gap))
    if len(taken) >= limit.allowed:
        moment = max(moment, taken[-limit.allowed] + timedelta(seconds=limit.window))
    return moment


def _counted(limit: Limit, standing: Standing) -> list[datetime]:
    since = standing.now - timedelta(seconds=limit.window)
    return [call for call in standing.calls if call > since]
