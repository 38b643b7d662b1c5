"""Events of the past, from analytics."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.clock import utc_now
from common.errors import Problem, Transient
from common.http.client import ServiceClient
from gateway.domain.live_event import LiveEvent, live_event

TIMEOUT_S = 5.0
READS_AT_ONCE = 8
"""After a reconnect every stream wants its past at the same moment."""


class LogUnavailable(Exception):
    """Analytics does not answer, or not as agreed."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Events, oldest first, and how far the trail was read; `left_out`: some of what was recorded is in no page."""

    events: list[LiveEvent]
    upto: int
    left_out: bool = False


class EventLog:
    """Reads a user's events out of the trail of analytics."""

    def __init__(self, analytics: ServiceClient) -> None:
        self._analytics = analytics
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    async def pages(
        self, user_id: UUID, *, since: datetime, above: int, behind: UUID | None = None
    ) -> AsyncGenerator[LogPage]:
        """Yield everything recorded at or after `since` and behind the record `above`, at least one page.

        `since` is by the clock of this process: analytics goes back further where its own is behind that, or where it recorded the
        event of the id `behind` earlier. `upto` of the last page is the `above` of a later pass. Raises LogUnavailable.
        """
        params: dict[str, Any] = {"user_id": str(user_id), "since": since.isoformat(), "above": above}
        begin: dict[str, Any] = {} if behind is None else {"behind": str(behind)}
        is_first = True
        while True:
            try:
                async with self._reads:
                    asked = {**params, **begin, "asked_at": utc_now().isoformat()} if is_first else params
                    answer = await self._analytics.get("/internal/events", params=asked, timeout=TIMEOUT_S)
                items, upto, has_more = answer["items"], int(answer["upto"]), bool(answer["has_more"])
                events = [event for event in map(live_event, items) if event is not None]
            except (Transient, Problem, KeyError, TypeError, ValueError) as error:
                raise LogUnavailable(type(error).__name__) from error
            yield LogPage(events, upto, answer.get("left_out") is True)
            if not has_more:
                return
            is_first = False
            params |= {"since": answer.get("since", params["since"]), "upto": upto}
            params |= {"after_time": items[-1]["time"], "after_id": items[-1]["id"]}
