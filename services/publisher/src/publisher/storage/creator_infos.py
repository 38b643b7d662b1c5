"""What TikTok said a creator may post, kept for a minute for all replicas."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.storage.tables import creator_infos


async def fresh(connection: AsyncConnection, account_id: UUID, max_age: timedelta) -> dict[str, Any] | None:
    """Return the stored answer unless it is older than `max_age`."""
    statement = select(creator_infos.c.info).where(
        creator_infos.c.account_id == account_id, creator_infos.c.fetched_at > func.now() - max_age
    )
    info: dict[str, Any] | None = await connection.scalar(statement)
    return info


async def keep(connection: AsyncConnection, account_id: UUID, info: dict[str, Any]) -> None:
    """Store an answer."""
    values = {"info": info, "fetched_at": func.clock_timestamp()}
    statement = insert(creator_infos).values(account_id=account_id, **values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
