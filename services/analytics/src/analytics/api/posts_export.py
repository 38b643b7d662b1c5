"""`GET /internal/analytics/export`: a user's posts with their statistics as a file, however many, in constant memory."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from analytics.api.file_answer import file_answer
from analytics.api.statistics_query import Reader, Since, Until, check_order
from analytics.domain.file_formats import Format
from analytics.domain.post_file import beginning, written
from analytics.domain.time_zone import EARLIEST, LATEST
from analytics.usecases.export_posts import export_posts
from common.clock import utc_now
from common.database import Database


def posts_export_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["statistics"])

    @router.get("/internal/analytics/export", summary="A user's posts as a file", response_class=StreamingResponse)
    async def get_export(
        claims: Reader,
        since: Since = None,
        until: Until = None,
        format: Format = "csv",  # noqa: A002 - the parameter's name
    ) -> StreamingResponse:
        """Oldest first; without a period all of them, also those that are still to come."""
        check_order(since, until)
        pages = export_posts(database, claims.user_id, since=since or EARLIEST, until=until or LATEST)
        pieces = (written(page, format) async for page in pages)
        return await file_answer(beginning(format), pieces, format, name="posts", now=utc_now())

    return router
