"""How a user asks for statistics: who they are, a period, a time zone. The same query parameters for all routes."""

from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Query

from analytics.domain import period as domain
from analytics.domain.period import NoPeriod, Period, Spans
from analytics.domain.time_zone import EARLIEST, LATEST, zone_of
from common.auth.claims import UserClaims
from common.clock import utc_now
from common.contracts.moment import Moment
from common.errors import FieldError, Problem
from common.http.identity import require_scope

Reader = Annotated[UserClaims, Depends(require_scope("analytics:read"))]

_Moment = Annotated[Moment | None, Query(ge=EARLIEST, lt=LATEST, description="RFC 3339 with an offset.")]
Since = Annotated[_Moment, Query(alias="from")]
Until = Annotated[_Moment, Query(alias="to")]


def _zone(timezone: Annotated[str, Query(description="A name of the IANA database.")] = "UTC") -> ZoneInfo:
    """Return the zone. Problem 422 for an unknown one."""
    zone = zone_of(timezone)
    if zone is None:
        raise _invalid(
            "timezone", "unknown_timezone", "This time zone is not in the IANA database.", "Use e.g. Europe/Berlin."
        )
    return zone


Zone = Annotated[ZoneInfo, Depends(_zone)]


def asked_period(since: datetime | None, until: datetime | None, spans: Spans) -> Period:
    """Return the period of these parameters, up to now when `to` is left out. Problem 422 for an empty or too long one."""
    try:
        return domain.period(since, until, now=utc_now(), spans=spans)
    except NoPeriod as refused:
        raise _invalid(refused.field, refused.code, refused.message, refused.hint) from None


def check_order(since: datetime | None, until: datetime | None) -> None:
    """Raise Problem 422 when both are given and nothing lies between them."""
    try:
        domain.check_order(since, until)
    except NoPeriod as refused:
        raise _invalid(refused.field, refused.code, refused.message, refused.hint) from None


def days(default: int, longest: int) -> Spans:
    """Return spans in days."""
    return Spans(timedelta(days=default), timedelta(days=longest))


def _invalid(field: str, code: str, message: str, hint: str) -> Problem:
    error = FieldError(field, code, message, hint)
    return Problem(422, "invalid_request", "The request is not valid.", hint=hint, errors=[error])
