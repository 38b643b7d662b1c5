"""`GET /internal/analytics/overview`: how a user's publishing went."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from analytics.api.statistics_query import Reader, Since, Until, Zone, asked_period, days
from analytics.usecases.read_overview import read_overview
from common.database import Database
from common.http.json_response import json_response

SPANS = days(30, 366)


def overview_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["statistics"])

    @router.get("/internal/analytics/overview", summary="How publishing went")
    async def get_overview(claims: Reader, zone: Zone, since: Since = None, until: Until = None) -> Response:
        """Of the posts whose time lies in the period."""
        asked = asked_period(since, until, SPANS)
        async with database.read() as connection:
            overview = await read_overview(connection, claims.user_id, asked=asked, zone=zone)
        return json_response(
            {
                "from": asked.since,
                "to": asked.until,
                "timezone": zone.key,
                "posts": overview.posts,
                "success_rate": overview.success_rate,
                "lateness_ms": asdict(overview.lateness),
                "failures": [{"code": code, "count": count} for code, count in overview.failures],
                "best_hours": [asdict(hour) for hour in overview.best_hours],
            }
        )

    return router
