"""Times as clients write them: RFC 3339 text only, within years that every conversion survives."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

MIN_YEAR, MAX_YEAR = 1900, 9000
_DATE_AND_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")


def _only_text(value: Any) -> Any:
    """Read RFC 3339 text, and refuse what pydantic would otherwise read as seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _DATE_AND_TIME.match(value) is None:
        raise ValueError("must be an RFC 3339 time, for example 2026-11-21T07:00:00Z")
    # Read here: strict models take no text for a time once a validator has had it.
    return datetime.fromisoformat(value)


def _in_range(moment: datetime) -> datetime:
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        raise ValueError(f"must be in a year from {MIN_YEAR} to {MAX_YEAR}")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_only_text), AfterValidator(_in_range)]
"""A time with an offset."""

LocalMoment = Annotated[datetime, BeforeValidator(_only_text), AfterValidator(_in_range)]
"""A time with an offset, or without one when a time zone is named elsewhere."""
