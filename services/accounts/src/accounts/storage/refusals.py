"""What TikTok refuses of an account's posts: told by the publisher in any order, so the time of each word decides."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ScalarSelect, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import account_refusals, tiktok_accounts

_table = account_refusals
_STANDS = (_table.c.refused_at.is_not(None), or_(_table.c.accepted_at.is_(None), _table.c.refused_at > _table.c.accepted_at))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was heard of a mode: the code of the last refusal, when it was, and when TikTok took a post; None for what was not."""

    code: str | None
    refused_at: datetime | None
    accepted_at: datetime | None

    def is_news(self, code: str, at: datetime) -> bool:
        """Whether a refusal at that time tells something: it stands, and is not the one that stands already."""
        if self.accepted_at is not None and self.accepted_at >= at:
            return False
        stands = self.refused_at is not None and (self.accepted_at is None or self.refused_at > self.accepted_at)
        return not stands or self.code != code


async def heard_of(connection: AsyncConnection, account_id: UUID, mode: str) -> Refusal:
    """Return what was heard of an account's posts of this mode."""
    statement = select(_table.c.code, _table.c.refused_at, _table.c.accepted_at).where(
        _table.c.account_id == account_id, _table.c.mode == mode
    )
    row = (await connection.execute(statement)).one_or_none()
    return Refusal(None, None, None) if row is None else Refusal(row.code, row.refused_at, row.accepted_at)


async def note_refusal(
    connection: AsyncConnection, account_id: UUID, mode: str, *, code: str, message: str, at: datetime
) -> None:
    """Note that TikTok refused, unless a later refusal is known; nothing of an account that is not there."""
    values = {"code": code, "message": message, "refused_at": at}
    columns = ["account_id", "mode", *values]
    known = select(
        tiktok_accounts.c.id, literal(mode), *(literal(value, _table.c[name].type) for name, value in values.items())
    ).where(tiktok_accounts.c.id == account_id)
    statement = insert(_table).from_select(columns, known)
    is_newer = or_(_table.c.refused_at.is_(None), _table.c.refused_at < at)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["account_id", "mode"], set_=values, where=is_newer)
    )


async def note_acceptance(connection: AsyncConnection, account_id: UUID, mode: str, *, at: datetime) -> None:
    """Note that TikTok took a post: what it refused before is over."""
    known = select(tiktok_accounts.c.id, literal(mode), literal(at, _table.c.accepted_at.type)).where(
        tiktok_accounts.c.id == account_id
    )
    statement = insert(_table).from_select(["account_id", "mode", "accepted_at"], known)
    newest = func.greatest(_table.c.accepted_at, at)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["account_id", "mode"], set_={"accepted_at": newest})
    )


async def forget_refusals(connection: AsyncConnection, account_id: UUID) -> None:
    """Note that the account was connected again: what was refused before may be over, and shows anew if it is not."""
    newest = func.greatest(_table.c.accepted_at, func.clock_timestamp())
    await connection.execute(update(_table).where(_table.c.account_id == account_id).values(accepted_at=newest))


def standing_refusal() -> ScalarSelect[str]:
    """Return, for a statement about accounts, the sentence of the newest refusal that stands; null for none."""
    return (
        select(_table.c.message)
        .where(_table.c.account_id == tiktok_accounts.c.id, *_STANDS)
        .order_by(_table.c.refused_at.desc())
        .limit(1)
        .correlate(tiktok_accounts)
        .scalar_subquery()
    )
