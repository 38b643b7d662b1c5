"""`GET /internal/analytics/posts/{id}`: a post's counters and how they grew."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from analytics.api.point_answer import PointFormat, csv_points
from analytics.api.statistics_query import Reader
from analytics.domain.post_measures import PostMeasure
from analytics.usecases.read_post_statistics import read_post_curve
from common.database import Database
from common.http.json_response import json_response

COLUMNS = ("at", "view_count", "like_count", "comment_count", "share_count")


def post_statistics_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/internal/analytics/posts", tags=["statistics"])

    @router.get("/{post_id}", summary="A post's counters")
    async def get_post(
        claims: Reader,
        post_id: UUID,
        format: PointFormat = "json",  # noqa: A002 - the parameter's name
    ) -> Response:
        """All that was measured, oldest first."""
        async with database.read() as connection:
            curve = await read_post_curve(connection, post_id, user_id=claims.user_id)
        points = [_point(measure) for measure in curve.points]
        if format == "csv":
            return csv_points(COLUMNS, points, name=f"post-{post_id}")
        return json_response(
            {
                "post_id": post_id,
                "tiktok_video_id": curve.tiktok_video_id,
                "latest": None if curve.latest is None else _point(curve.latest),
                "points": points,
            }
        )

    return router


def _point(measure: PostMeasure) -> dict[str, Any]:
    return {
        "at": measure.collected_at,
        "view_count": measure.view_count,
        "like_count": measure.like_count,
        "comment_count": measure.comment_count,
        "share_count": measure.share_count,
    }
