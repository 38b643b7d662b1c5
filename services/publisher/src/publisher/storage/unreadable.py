"""Rows that make no job: put off, so that they stop no other, and ended where it is certain that nothing was sent."""

from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import and_, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.job import State, Transfer
from publisher.domain.troubles import INTERNAL_ERROR
from publisher.storage.job import JobRef, StoredEvent
from publisher.storage.tables import publish_jobs

WAIT = timedelta(seconds=60)
"""How long a row that cannot be read is put off."""

_jobs = publish_jobs
_clock = func.clock_timestamp()


async def put_off(connection: AsyncConnection, job: JobRef, event: StoredEvent | None) -> int:
    """Look at it again after `WAIT`; `event` is what is told of it now. Returns its sequence."""
    told = {} if event is None else {"last_event": event.to_json(), "sequence": _jobs.c.sequence + 1}
    statement = (
        update(_jobs)
        .where(_jobs.c.id == job.id)
        .values(lease_owner=None, run_at=_clock + WAIT, reason=asdict(INTERNAL_ERROR), updated_at=_clock, **told)
        .returning(_jobs.c.sequence)
    )
    sequence: int = (await connection.execute(statement)).scalar_one()
    return sequence


async def end(connection: AsyncConnection, job: JobRef, event: StoredEvent) -> int | None:
    """Fail it once its deadline has passed and no byte of its file was ever intended; returns its sequence, None when not."""
    nothing_sent = and_(
        _jobs.c.state.in_([State.QUEUED.value, State.RUNNING.value]),
        _jobs.c.transfer == Transfer.FILE.value,
        _jobs.c.irrevocable_since.is_(None),
    )
    statement = (
        update(_jobs)
        .where(_jobs.c.id == job.id, nothing_sent, _jobs.c.publish_before < _clock)
        .values(
            state=State.FAILED.value,
            lease_owner=None,
            run_at=None,
            reason=asdict(INTERNAL_ERROR),
            finished_at=_clock,
            updated_at=_clock,
            last_event=event.to_json(),
            sequence=_jobs.c.sequence + 1,
        )
        .returning(_jobs.c.sequence)
    )
    sequence: int | None = await connection.scalar(statement)
    return sequence
