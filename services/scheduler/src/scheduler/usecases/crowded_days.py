"""Posts that have no room in their account's day, as it is counted by the publisher and planned here."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.database.database import Transaction
from scheduler.domain.daily_cap import Day, Planned, check_day
from scheduler.domain.finding import Finding
from scheduler.storage.day_plan import LAST_ID, PlanAsk, planned_before

DAYS_READ = 2
"""So many times the cap is read of what comes before a post: the forecast of a greater crowd is not exact, only late."""


@dataclass(frozen=True, slots=True)
class DayPost:
    """A post and its account's day; without `post_id` it is a new one, which its batch mates count, too."""

    account_id: UUID
    mode: str
    planned: Planned
    day: Day
    post_id: UUID | None


async def crowded_days(tx: Transaction, posts: Mapping[int, DayPost]) -> Mapping[int, Finding]:
    """Return what is to be told of those posts for which there is no room at their time, by number."""
    counted = [number for number, post in posts.items() if post.day.allowed is not None]
    stored = await planned_before(tx.connection, [_ask(posts[number]) for number in counted]) if counted else {}
    places = {number: place for place, number in enumerate(counted)}
    mates = _new_posts(posts)
    found: dict[int, Finding] = {}
    for number, post in posts.items():
        planned = stored.get(places.get(number, -1), [])
        before = sorted([*planned, *_mates_before(number, posts, mates)], key=lambda one: one.due_at)
        finding = check_day(post.day, before, post.planned, post.mode)
        if finding is not None:
            found[number] = finding
    return found


def _ask(post: DayPost) -> PlanAsk:
    return PlanAsk(
        post.account_id, post.mode, post.planned.due_at, post.post_id or LAST_ID, since=post.day.window, most=_most(post)
    )


def _most(post: DayPost) -> int:
    return DAYS_READ * (post.day.allowed or 0)


def _new_posts(posts: Mapping[int, DayPost]) -> Mapping[tuple[UUID, str], Sequence[tuple[datetime, int]]]:
    """Return due times and numbers of the new posts, in their order, by account and mode."""
    found: dict[tuple[UUID, str], list[tuple[datetime, int]]] = defaultdict(list)
    for due_at, number in sorted((post.planned.due_at, number) for number, post in posts.items() if post.post_id is None):
        found[posts[number].account_id, posts[number].mode].append((due_at, number))
    return found


def _mates_before(
    number: int, posts: Mapping[int, DayPost], mates: Mapping[tuple[UUID, str], Sequence[tuple[datetime, int]]]
) -> Sequence[Planned]:
    """Return the new posts of the same batch that come within a day before one."""
    post = posts[number]
    line = mates.get((post.account_id, post.mode), ())
    since = bisect_left(line, (post.planned.due_at - post.day.window, -1))
    until = bisect_left(line, (post.planned.due_at, number))
    return [posts[mate].planned for _, mate in line[max(since, until - _most(post)) : until]]
