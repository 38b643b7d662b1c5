"""What was measured at TikTok, and when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar, NamedTuple
from uuid import UUID

from analytics.domain.event_fields import count_of


class AccountNumbers(NamedTuple):
    """An account's numbers."""

    follower_count: int
    following_count: int
    likes_count: int
    video_count: int

    @classmethod
    def of(cls, told: Sequence[object]) -> "AccountNumbers | None":
        """Return what TikTok told, in this order, None when a number is missing."""
        numbers = _numbers(told)
        return None if numbers is None else cls(*numbers)


class PostNumbers(NamedTuple):
    """A video's numbers."""

    view_count: int
    like_count: int
    comment_count: int
    share_count: int

    @classmethod
    def of(cls, told: Sequence[object]) -> "PostNumbers | None":
        """Return what TikTok told, in this order, None when a number is missing."""
        numbers = _numbers(told)
        return None if numbers is None else cls(*numbers)


def _numbers(told: Sequence[object]) -> list[int] | None:
    numbers = [number for value in told if (number := count_of(value)) is not None]
    return numbers if len(numbers) == len(told) else None


@dataclass(frozen=True, slots=True)
class AccountMeasure:
    """The numbers of an account as they were at one time."""

    COUNTS: ClassVar[tuple[str, ...]] = AccountNumbers._fields

    account_id: UUID
    collected_at: datetime
    follower_count: int
    following_count: int
    likes_count: int
    video_count: int

    @property
    def hour(self) -> datetime:
        """The hour of UTC it belongs to, by its beginning."""
        return hour_of(self.collected_at)

    @property
    def day(self) -> date:
        """The day of UTC it belongs to."""
        return self.collected_at.astimezone(UTC).date()


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour of UTC that a moment lies in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def first_of_hours(measures: Iterable[AccountMeasure]) -> list[AccountMeasure]:
    """Return the first measure of each account in each hour, by account and hour."""
    ordered = sorted(measures, key=lambda measure: measure.collected_at, reverse=True)
    return _sorted({(measure.account_id, measure.hour): measure for measure in ordered}.values())


def last_of_days(measures: Iterable[AccountMeasure]) -> list[AccountMeasure]:
    """Return the last measure of each account on each day, by account and day."""
    ordered = sorted(measures, key=lambda measure: measure.collected_at)
    return _sorted({(measure.account_id, measure.day): measure for measure in ordered}.values())


def _sorted(measures: Iterable[AccountMeasure]) -> list[AccountMeasure]:
    return sorted(measures, key=lambda measure: (measure.account_id, measure.collected_at))
