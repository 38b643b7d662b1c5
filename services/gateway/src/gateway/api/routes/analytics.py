"""Statistics of accounts and posts."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from gateway.api.callers import allowed
from gateway.api.documents import Json, parameters, problems, query, texts
from gateway.api.forwarding import forward
from gateway.api.models.analytics import AccountHistory, AccountStats, Overview, PostStats
from gateway.api.streaming import ForwardedStream
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])
Reader = Annotated[Caller, Depends(allowed("analytics:read"))]

_TIMEZONE = query("timezone", "A name of the IANA database, such as `Europe/Berlin`.", type="string", default="UTC")
_FORMAT = query("format", "CSV has the points alone.", type="string", enum=["json", "csv"], default="json")
_OR_CSV = texts("As JSON or, with `format=csv`, its points as CSV.", "text/csv")


def _period(default: str, longest: str) -> tuple[Json, Json]:
    return (
        query("from", f"At or after. Left out: {default} before `to`.", type="string", format="date-time"),
        query("to", f"Before; at most {longest} after `from`. Left out: now.", type="string", format="date-time"),
    )


@router.get("/accounts/{account_id}/stats", response_model=AccountStats, responses=problems(401, 403, 404))
async def account_stats(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return an account's newest figures, and by how much they changed over 1, 7 and 30 days."""
    return await forward(request, "analytics", f"/internal/analytics/accounts/{account_id}/stats", caller=caller)


@router.get(
    "/accounts/{account_id}/history",
    response_model=AccountHistory,
    responses=problems(401, 403, 404) | _OR_CSV,
    openapi_extra=parameters(
        *_period("7 days (hours) or 90 days (days)", "92 days (hours) or 3,660 days (days)"),
        query("interval", "A point for each hour or each day.", type="string", enum=["hour", "day"], default="day"),
        _TIMEZONE,
        _FORMAT,
    ),
)
async def account_history(request: Request, caller: Reader, account_id: UUID) -> Response:
    """Return an account's figures by hour or day of a time zone's clock; what was not measured is left out."""
    return await forward(request, "analytics", f"/internal/analytics/accounts/{account_id}/history", caller=caller)


@router.get(
    "/posts/{post_id}",
    response_model=PostStats,
    responses=problems(401, 403, 404) | _OR_CSV,
    openapi_extra=parameters(_FORMAT),
)
async def post_stats(request: Request, caller: Reader, post_id: UUID) -> Response:
    """Return a post's newest counters and its curve."""
    return await forward(request, "analytics", f"/internal/analytics/posts/{post_id}", caller=caller)


@router.get(
    "/overview",
    response_model=Overview,
    responses=problems(401, 403),
    openapi_extra=parameters(*_period("30 days", "366 days"), _TIMEZONE),
)
async def overview(request: Request, caller: Reader) -> Response:
    """Return how the user's posts of a period went, and in which hours of the week their posts are watched most."""
    return await forward(request, "analytics", "/internal/analytics/overview", caller=caller)


@router.get(
    "/export",
    response_class=Response,
    responses=problems(401, 403) | texts("The file, as it is made.", "text/csv", "application/jsonl"),
    openapi_extra=parameters(
        query("format", "CSV or JSON Lines.", type="string", enum=["csv", "jsonl"], default="csv"),
        query("from", "Posts whose time is at or after.", type="string", format="date-time"),
        query("to", "Posts whose time is before.", type="string", format="date-time"),
    ),
)
async def export_posts(request: Request, caller: Reader) -> Response:
    """Give the user's posts with their newest counters as a file, a row each, oldest first; two files at a time."""
    return ForwardedStream(request, "analytics", "/internal/analytics/export", caller=caller)
