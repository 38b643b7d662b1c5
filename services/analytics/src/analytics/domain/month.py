"""A month of the audit trail: the unit in which it is kept and dropped."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

PREFIX = "records_"


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
    def of_partition(cls, name: str) -> "Month":
        """Return the month of the partition with this name; raises ValueError for any other table's."""
        year, _, number = name.removeprefix(PREFIX).partition("_")
        return cls(int(year), int(number))

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
