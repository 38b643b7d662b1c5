"""Times that a program can read.

The database holds times that no Python date can be: `infinity`, years before 1 and beyond 9999. Cuepost writes none of them, but
whoever has the owner's rights can. Read as they are, one of them makes the whole page that it stands in unreadable.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Label, and_, case, literal_column

FIRST = "TIMESTAMPTZ '0001-01-01 00:00:00+00'"
LAST = "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'"


def readable(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a time is one that a program can read."""
    return and_(column >= literal_column(FIRST), column <= literal_column(LAST))


def readable_or_null(column: ColumnElement[Any], name: str) -> Label[datetime | None]:
    """Return a time under this name, null where no program can read it."""
    return case((readable(column), column)).label(name)
