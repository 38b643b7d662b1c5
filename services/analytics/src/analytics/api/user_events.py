"""`GET /internal/events`: a user's events as they were, for the gateway's live stream."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime

from analytics.api.audit_filters import EARLIEST, LATEST
from analytics.domain.cloud_event import cloud_event
from analytics.usecases.read_events import read_events, where_to_begin
from common.database import Database
from common.errors import FieldError, Problem
from common.http.identity import caller
from common.http.json_response import json_response

MAX_PAGE = 500

Moment = Annotated[AwareDatetime, Query(ge=EARLIEST, lt=LATEST)]


def user_events_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["events"])

    @router.get("/internal/events", dependencies=[Depends(caller("gateway"))])
    async def get_events(
        user_id: UUID,
        since: Moment,
        above: Annotated[int, Query(ge=0)] = 0,
        upto: Annotated[int | None, Query(ge=0)] = None,
        asked_at: Annotated[AwareDatetime | None, Query(ge=EARLIEST, lt=LATEST)] = None,
        behind: UUID | None = None,
        after_time: Annotated[AwareDatetime | None, Query(ge=EARLIEST, lt=LATEST)] = None,
        after_id: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    ) -> Response:
        """CloudEvents recorded at or after `since`, in pages behind (`after_time`, `after_id`).

        With `asked_at`, the time by the clock by which `since` is meant, and `behind`, the id of an event that was seen, the answer
        goes back as far as that needs. Its `since` and `upto` belong into the questions for the rest of the pages; a later pass
        goes on with `upto` as `above`. `left_out` of the first page tells that some events, which were on their way for more than
        24 hours, are in none.
        """
        if (after_time is None) is not (after_id is None):
            error = FieldError("after_id", "incomplete", "`after_time` and `after_id` belong together.")
            raise Problem(422, "invalid_request", "The request is not valid.", errors=[error])
        after = None if after_time is None or after_id is None else (after_time, after_id)
        async with database.read() as connection:
            begin = await where_to_begin(connection, user_id, since, asked_at=asked_at, behind=behind)
            page = await read_events(connection, user_id, since=begin, above=above, upto=upto, after=after, limit=limit)
        items: list[dict[str, Any]] = [cloud_event(event) for event in page.events]
        told = {"upto": page.upto, "has_more": page.has_more, "left_out": page.left_out}
        return json_response({"items": items, "since": begin.isoformat(), **told})

    return router
