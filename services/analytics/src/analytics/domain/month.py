"""A month of the audit trail: the unit in which it is kept and dropped."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

PREFIX = "records_"
_NUMBERS = re.compile(r"([0-9]{4})_(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """Return the month of an aware datetime."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    @classmethod
    def of_partition(cls, name: str, prefix: str = PREFIX) -> "Month | None":
        """Return the month of the partition with this name; None for one that is named otherwise."""
        found = _NUMBERS.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        return None if found is None else cls(int(found[1]), int(found[2]))

    def plus(self, months: int) -> "Month":
        """Return the month that many months later."""
        years, index = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(years, index + 1)

    @property
    def first_day(self) -> date:
        """Its first day."""
        return date(self.year, self.number, 1)

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def partition(self) -> str:
        """Name of its partition: `records_2026_11`."""
        return f"{PREFIX}{self.year:04d}_{self.number:02d}"
