"""A month of events, as a range of event ids.

Event ids are UUIDv7: their first 48 bits are milliseconds since 1970, and PostgreSQL compares ids byte by byte. So a month is
a range of ids, and a table partitioned by that range keeps its primary key on the id alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID


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
    def of_partition(cls, name: str) -> "Month | None":
        """Return the month that a partition's name tells, None for any other table."""
        parts = name.split("_")
        if len(parts) != 3 or parts[0] != "events" or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(int(parts[1]), int(parts[2]))

    def plus(self, months: int) -> "Month":
        """Return the month that many months later."""
        years, index = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(years, index + 1)

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def partition(self) -> str:
        """Name of its partition: `events_2026_11`."""
        return f"events_{self.year:04d}_{self.number:02d}"

    @property
    def first_id(self) -> UUID:
        """The lowest id of this month; ids of the month before sort below it, ids of this month do not."""
        return UUID(int=int(self.start.timestamp() * 1000) << 80)
