"""Looks at attempts ahead of their time: because of news, or because somebody asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.attempts import under_way_until, word_counts_at
from publisher.domain.job import Lane, State, Transfer
from publisher.storage.claims import is_denied
from publisher.storage.job import StoredEvent
from publisher.storage.tables import publish_jobs

_jobs = publish_jobs
_clock = func.clock_timestamp()
_ENDS = tuple(state.value for state in State if state.is_end)


@dataclass(frozen=True, slots=True)
class Looked:
    """Where an attempt stands between two looks, seen at `seen_at`; `answered_at` is when the look began that TikTok answered last.

    `status_at` is when the look or poll began that told `status`, TikTok's. All by the database's clock. `possible_videos` are the
    ids of the creator's videos that may be it, as the last list showed that could be read. `is_denied`: it counts as not
    published, and a webhook said that something came of it.
    """

    id: UUID
    attempt: int
    state: State
    answered_at: datetime | None
    in_hand: bool
    sequence: int
    last_event: StoredEvent | None
    transfer: Transfer
    publish_id: str | None
    ended_at: datetime | None
    status: str | None
    status_at: datetime | None
    username: str | None
    possible_videos: tuple[str, ...]
    seen_at: datetime
    is_denied: bool

    @property
    def is_in_doubt(self) -> bool:
        """Whether it has ended and may be live all the same: TikTok is asked about it before a person's word counts."""
        return self.state is State.UNCONFIRMED or self.is_denied

    def too_early_until(self, patience: timedelta) -> datetime | None:
        """Return until when a person's word about it does not count, None when it counts or none is needed."""
        if self.state is not State.UNCONFIRMED:
            return None
        counts_at = word_counts_at(self.transfer, self.publish_id, self.ended_at, patience=patience)
        return counts_at if counts_at is not None and counts_at > self.seen_at else None

    def under_way_until(self) -> datetime | None:
        """Return until when a person's word does not count because TikTok told last that it works on it, None when it counts."""
        if not self.is_in_doubt or self.status is None or self.status_at is None:
            return None
        if self.answered_at is not None and self.answered_at > self.status_at:
            # TikTok was asked again since, and did not know it any more.
            return None
        until = under_way_until(self.status, self.ended_at or self.seen_at)
        return until if until is not None and until > self.seen_at else None


async def look_at(connection: AsyncConnection, job_ids: Sequence[UUID]) -> None:
    """Make jobs due for a look now; one that somebody has in hand, as soon as it is handed back. Lanes of ended ones: follow."""
    in_hand = _jobs.c.lease_owner.is_not(None)
    statement = (
        update(_jobs)
        .where(_jobs.c.id.in_(job_ids))
        .values(
            look_at_once=in_hand,
            run_at=case((in_hand, _jobs.c.run_at), else_=_clock),
            lane=case((_jobs.c.state.in_(_ENDS), Lane.FOLLOW.value), else_=_jobs.c.lane),
        )
    )
    await connection.execute(statement)


async def attempts_until(connection: AsyncConnection, post_id: UUID, attempt: int) -> Sequence[Looked]:
    """Return the post's attempts up to a number, in order; tombstones too. One that cannot be read may still publish."""
    until = (_jobs.c.post_id == post_id, _jobs.c.attempt <= attempt)
    statement = select(_jobs, _clock.label("seen_at"), is_denied().label("is_denied")).where(*until).order_by(_jobs.c.attempt)
    return [
        Looked(
            id=row.id,
            attempt=row.attempt,
            state=State.of_stored(row.state),
            answered_at=row.answered_at,
            in_hand=row.lease_owner is not None or row.look_at_once,
            sequence=row.sequence,
            last_event=None if row.last_event is None else StoredEvent(row.last_event["key"], row.last_event["data"]),
            transfer=Transfer.of_stored(row.transfer),
            publish_id=row.publish_id,
            ended_at=row.finished_at,
            status=row.tiktok_status,
            status_at=row.status_at,
            username=row.username,
            possible_videos=tuple(row.possible_videos or ()),
            seen_at=row.seen_at,
            is_denied=row.is_denied,
        )
        for row in await connection.execute(statement)
    ]
