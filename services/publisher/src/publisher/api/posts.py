"""Progress of a post's latest attempt, cancelling an attempt, one more look at TikTok; only the scheduler may call."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from common.clock import utc_now
from common.database import Database
from common.errors import Problem
from common.http.identity import caller
from common.messaging.outbox import Outbox
from publisher.api.progress import Progress, progress_of, unreadable
from publisher.storage import jobs
from publisher.storage.job import JobUnreadable
from publisher.usecases.cancel_job import CancelOutcome, cancel_job
from publisher.usecases.look_again import LookOutcome, LookResult, begin_look, look_result

MAX_ATTEMPT = 10_000
DECISION_PATIENCE_SECONDS = 1.2
"""Less than the scheduler's, whose patience is 2 seconds."""
DECISION_LOOK_SECONDS = 0.2
LOOK_PATIENCE_SECONDS = 3.0
"""Less than the scheduler's, whose patience is 4 seconds: a client waits 5 for its answer."""
LOOK_SECONDS = 0.05


class CancelRequest(BaseModel):
    """Which attempt to cancel."""

    model_config = ConfigDict(extra="forbid")

    attempt: int = Field(ge=1, le=MAX_ATTEMPT)


class CancelAnswer(BaseModel):
    """Whether it was in time."""

    outcome: CancelOutcome


class LookRequest(BaseModel):
    """Up to which attempt to look."""

    model_config = ConfigDict(extra="forbid")

    attempt: int = Field(ge=1, le=MAX_ATTEMPT)


class ToldEvent(BaseModel):
    """An event of this service: its key, its data, its sequence."""

    key: str
    data: dict[str, Any]
    sequence: int


class Video(BaseModel):
    """A video of the creator's, and its public address where that is known."""

    id: str
    url: str | None


class LookAnswer(BaseModel):
    """What one more look told; of a live attempt, the event that tells it; when nobody can know yet, until when at most.

    `possible_videos` may be the post: a person who says that it was not published says that it is none of them.
    """

    outcome: LookOutcome
    event: ToldEvent | None = None
    until: datetime | None = None
    possible_videos: list[Video] = []


def posts_router(
    database: Database, outbox: Outbox, *, replica: str, wake: Callable[[], None], give_up: timedelta, vouch_after: timedelta
) -> APIRouter:
    """Return the routes below `/internal/posts`; `wake` makes the runner of jobs to follow look at once.

    `give_up` is how long an outcome is waited for, `vouch_after` how long an init without an answer may still have its effect.
    """
    router = APIRouter(prefix="/internal/posts", dependencies=[Depends(caller("scheduler"))])

    @router.get("/{post_id}/progress")
    async def progress(post_id: UUID) -> Progress:
        """Return the progress; 404 `publish_job_not_found` while no attempt has been heard of."""
        try:
            async with database.read() as connection:
                job = await jobs.latest_of_post(connection, post_id)
        except JobUnreadable as error:
            return unreadable(error.ref)
        if job is None:
            raise Problem(404, "publish_job_not_found", "The publisher has not heard of this post.")
        return progress_of(job, give_up=give_up, now=utc_now())

    @router.post("/{post_id}/cancel")
    async def cancel(post_id: UUID, body: Annotated[CancelRequest, ...]) -> CancelAnswer:
        """Cancel an attempt unless something of it may be published already.

        While TikTok is asked to give up a fetch, its answer is waited for as long as the caller has patience.
        """

        async def decided() -> CancelOutcome:
            async with database.transaction() as tx:
                tx.after_commit(wake)
                return await cancel_job(tx, post_id, body.attempt, outbox=outbox, replica=replica)

        until_decided = AsyncRetrying(
            retry=retry_if_result(lambda outcome: outcome is CancelOutcome.UNDECIDED),
            wait=wait_fixed(DECISION_LOOK_SECONDS),
            stop=stop_after_delay(DECISION_PATIENCE_SECONDS),
            retry_error_callback=lambda _: CancelOutcome.UNDECIDED,
        )
        return CancelAnswer(outcome=await until_decided(decided))

    @router.post("/{post_id}/look")
    async def look(post_id: UUID, body: Annotated[LookRequest, ...]) -> LookAnswer:
        """Ask TikTok once more about the attempts whose outcome is not known, and wait for that as long as the caller does."""
        async with database.transaction() as tx:
            tx.after_commit(wake)
            before = await begin_look(tx, post_id, body.attempt)

        async def looked() -> LookResult | None:
            async with database.transaction() as tx:
                return await look_result(tx, post_id, body.attempt, before, vouch_after=vouch_after)

        until_looked = AsyncRetrying(
            retry=retry_if_result(lambda result: result is None),
            wait=wait_fixed(LOOK_SECONDS),
            stop=stop_after_delay(LOOK_PATIENCE_SECONDS),
            retry_error_callback=lambda _: LookResult(LookOutcome.UNANSWERED),
        )
        return _look_answer(await until_looked(looked))

    return router


def _look_answer(result: LookResult | None) -> LookAnswer:
    if result is None:
        return LookAnswer(outcome=LookOutcome.UNANSWERED)
    if result.event is None:
        videos = [Video(id=video.id, url=video.url) for video in result.possible]
        return LookAnswer(outcome=result.outcome, until=result.until, possible_videos=videos)
    told = ToldEvent(key=result.event.key, data=result.event.data, sequence=result.sequence)
    return LookAnswer(outcome=result.outcome, event=told)
