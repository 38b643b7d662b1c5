"""Accounts of which TikTok takes nothing until a person acts: their posts wait, and one of them looks from time to time."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.outcomes import Reason
from publisher.storage.tables import account_holds

LOOK_FIRST_SECONDS = 60.0
LOOK_MAX_SECONDS = 3600.0
MAX_DOUBLINGS = 10

_holds = account_holds
_clock = func.clock_timestamp()


@dataclass(frozen=True, slots=True)
class Hold:
    """Why posts of a mode wait, and in how many seconds one of them may look again (0: now)."""

    reason: Reason
    look_in: float


async def put(connection: AsyncConnection, account_id: UUID, mode: str, reason: Reason, *, looked: bool) -> float:
    """Hold the account's posts of this mode; returns in how many seconds one of them looks.

    `looked` says that this was such a look: the next one comes twice as late.
    """
    looks = _holds.c.looks + int(looked)
    pause = func.least(LOOK_FIRST_SECONDS * func.power(2, func.least(looks, MAX_DOUBLINGS)), LOOK_MAX_SECONDS)
    statement = (
        insert(_holds)
        .values(
            account_id=account_id, mode=mode, reason=asdict(reason), look_at=_clock + timedelta(seconds=LOOK_FIRST_SECONDS)
        )
        .on_conflict_do_update(
            index_elements=["account_id", "mode"],
            set_={"reason": asdict(reason), "looks": looks, "look_at": _clock + pause * text("interval '1 second'")},
        )
        .returning(func.extract("epoch", _holds.c.look_at - _clock))
    )
    return float((await connection.execute(statement)).scalar_one())


async def find(connection: AsyncConnection, account_id: UUID, mode: str) -> Hold | None:
    """Return the hold, None when there is none."""
    statement = select(_holds.c.reason, func.extract("epoch", _holds.c.look_at - _clock)).where(
        _holds.c.account_id == account_id, _holds.c.mode == mode
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Hold(Reason(**row[0]), max(float(row[1]), 0.0))


async def take_look(connection: AsyncConnection, account_id: UUID, mode: str) -> bool:
    """Let this job look whether the hold is over; of many that ask, only one until the next look is due."""
    statement = (
        update(_holds)
        .where(_holds.c.account_id == account_id, _holds.c.mode == mode, _holds.c.look_at <= _clock)
        .values(look_at=_clock + timedelta(seconds=LOOK_FIRST_SECONDS))
    )
    return (await connection.execute(statement)).rowcount > 0


async def lift(connection: AsyncConnection, account_id: UUID, mode: str | None = None) -> bool:
    """End the hold, of both modes without one; returns whether there was any."""
    statement = _holds.delete().where(_holds.c.account_id == account_id)
    if mode is not None:
        statement = statement.where(_holds.c.mode == mode)
    return (await connection.execute(statement)).rowcount > 0
