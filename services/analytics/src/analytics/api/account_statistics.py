"""`GET /internal/analytics/accounts/{id}/stats` and `.../history`: an account's figures and how they came about."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from analytics.api.point_answer import PointFormat, csv_points
from analytics.api.statistics_query import Reader, Since, Until, Zone, asked_period, days
from analytics.domain.account_measures import AccountCounts, AccountMeasure, Change, flat
from analytics.domain.time_zone import Interval
from analytics.usecases.read_account_statistics import read_account_figures, read_account_history
from common.database import Database
from common.http.json_response import json_response

SPANS = {"hour": days(7, 92), "day": days(90, 3_660)}
"""How long a history is by default, and at most."""


def account_statistics_router(database: Database) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/internal/analytics/accounts", tags=["statistics"])

    @router.get("/{account_id}/stats", summary="An account's newest figures")
    async def get_stats(claims: Reader, account_id: UUID) -> Response:
        """Null what is not known."""
        async with database.read() as connection:
            figures = await read_account_figures(connection, account_id, user_id=claims.user_id)
        changes = {name: _change(one) for name, one in figures.changes.items()}
        return json_response({"account_id": account_id, **_measure(figures.newest), "change": changes})

    @router.get("/{account_id}/history", summary="An account's figures by hour or day")
    async def get_history(
        claims: Reader,
        account_id: UUID,
        zone: Zone,
        since: Since = None,
        until: Until = None,
        interval: Annotated[Interval, Query()] = "day",
        format: PointFormat = "json",  # noqa: A002 - the parameter's name
    ) -> Response:
        """Give a point for each hour or day in which the account was measured, and none for the others."""
        asked = asked_period(since, until, SPANS[interval])
        async with database.read() as connection:
            points = await read_account_history(
                connection, account_id, user_id=claims.user_id, asked=asked, interval=interval, zone=zone
            )
        items = [{"at": at, **flat(counts)} for at, counts in points]
        if format == "csv":
            return csv_points(("at", *AccountCounts.__slots__), items, name=f"account-{interval}s-{account_id}")
        return json_response(
            {
                "account_id": account_id,
                "from": asked.since,
                "to": asked.until,
                "interval": interval,
                "timezone": zone.key,
                "points": items,
            }
        )

    return router


def _measure(newest: AccountMeasure | None) -> dict[str, Any]:
    if newest is None:
        return {"collected_at": None, **flat(None)}
    return {"collected_at": newest.collected_at, **flat(newest.counts)}


def _change(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"since": change.since, **flat(change.counts)}
