"""What lies in object storage for the media library: one row for each object, from its arrival until its bytes are gone.

Keys are never used twice, so an object that was given up once stays given up. `sha256` is set on the one object of a user's
content that identical files share.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.storage.tables import media, stored_objects

_CLAIM = text("""
UPDATE stored_objects SET tries = tries + 1,
  remove_at = statement_timestamp() + least(:first * power(2, least(tries, 12)), :longest) * interval '1 second'
WHERE storage_key IN (
  SELECT storage_key FROM stored_objects WHERE remove_at <= statement_timestamp()
  ORDER BY remove_at LIMIT :batch FOR UPDATE SKIP LOCKED
)
RETURNING storage_key
""")
_NEXT = text(
    "SELECT extract(epoch FROM min(remove_at) - clock_timestamp())::float8 FROM stored_objects WHERE remove_at IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class LostObject:
    """The object of a user's content, by its sha256, whose bytes are not in the storage any more."""

    storage_key: str
    user_id: UUID
    sha256: str


async def add_object(connection: AsyncConnection, storage_key: str, user_id: UUID) -> None:
    """Note that an object has arrived; repeating it changes nothing."""
    values = {"storage_key": storage_key, "user_id": user_id}
    await connection.execute(insert(stored_objects).values(values).on_conflict_do_nothing())


async def find_twin(connection: AsyncConnection, user_id: UUID, sha256: str) -> str | None:
    """Return the key under which a user's content is kept, None while it is not."""
    found: str | None = await connection.scalar(_of_content(user_id, sha256))
    return found


async def stored_bytes(connection: AsyncConnection, user_id: UUID) -> int:
    """Return how many bytes are kept for a user's files; those that several files share count once."""
    kept = (
        select(media.c.storage_key, media.c.size_bytes)
        .join(stored_objects, stored_objects.c.storage_key == media.c.storage_key)
        .where(media.c.user_id == user_id, media.c.deleted_at.is_(None), stored_objects.c.remove_at.is_(None))
        .distinct()
        .subquery()
    )
    return int(await connection.scalar(select(func.coalesce(func.sum(kept.c.size_bytes), 0))) or 0)


async def lock_lost(connection: AsyncConnection, lost: LostObject, media_id: UUID) -> None:
    """Lock a file that is to replace a lost object, and all that name that object: before anything else of the transaction.

    Files are locked before objects, by their ids, and by nobody else who registers this content: the order of those who delete
    files and of those who make posts.
    """
    await _lock_content(connection, lost.user_id, lost.sha256)
    names = and_(media.c.storage_key == lost.storage_key, media.c.deleted_at.is_(None))
    chosen = select(media.c.id).where(or_(media.c.id == media_id, names)).order_by(media.c.id)
    await connection.execute(chosen.with_for_update())


async def share_object(
    connection: AsyncConnection,
    storage_key: str,
    user_id: UUID,
    sha256: str,
    *,
    has_thumbnail: bool,
    lost: LostObject | None = None,
) -> str:
    """Return the key under which a user's content is kept: that of an identical object if there is one, else the given one.

    The object that is not needed is given up. One that is `lost` (and was locked as such) is replaced: the files that name it
    have the given one from now on. Registrations and deletions of the same content wait for each other until the transaction ends.
    """
    await _lock_content(connection, user_id, sha256)
    twin: str | None = await connection.scalar(_of_content(user_id, sha256).with_for_update())
    if twin is not None and lost is not None and twin == lost.storage_key:
        await _replace_object(connection, twin, storage_key)
    elif twin is not None and twin != storage_key:
        await give_up_object(connection, storage_key)
        return twin
    await connection.execute(
        update(stored_objects)
        .where(stored_objects.c.storage_key == storage_key)
        .values(sha256=sha256, has_thumbnail=has_thumbnail)
    )
    return storage_key


async def give_up_object(connection: AsyncConnection, storage_key: str) -> None:
    """Have an object's bytes removed from now on."""
    await connection.execute(
        update(stored_objects)
        .where(stored_objects.c.storage_key == storage_key, stored_objects.c.remove_at.is_(None))
        .values(remove_at=func.now())
    )


async def release_object(connection: AsyncConnection, storage_key: str) -> bool:
    """Give an object up if no file has it any more; tells whether it did. Call it after the file was marked as deleted."""
    locked = select(stored_objects.c.storage_key).where(stored_objects.c.storage_key == storage_key).with_for_update()
    if await connection.scalar(locked) is None:
        return False
    # A statement of its own: its snapshot shows what a registration that held the lock has committed.
    sharing = select(media.c.id).where(media.c.storage_key == storage_key, media.c.deleted_at.is_(None)).limit(1)
    if await connection.scalar(sharing) is not None:
        return False
    await give_up_object(connection, storage_key)
    return True


async def has_thumbnail(connection: AsyncConnection, storage_key: str) -> bool:
    """Tell whether an object has a thumbnail beside it."""
    found = select(stored_objects.c.has_thumbnail).where(stored_objects.c.storage_key == storage_key)
    return bool(await connection.scalar(found))


async def claim_removals(
    connection: AsyncConnection, *, batch: int, first_retry: timedelta, longest_retry: timedelta
) -> Sequence[str]:
    """Take objects to remove, none that another replica has in hand; each comes back later, doubling, unless it is forgotten."""
    parameters = {"batch": batch, "first": first_retry.total_seconds(), "longest": longest_retry.total_seconds()}
    return list(await connection.scalars(_CLAIM, parameters))


async def forget_object(connection: AsyncConnection, storage_key: str) -> None:
    """Remove the row of an object whose bytes are gone."""
    await connection.execute(delete(stored_objects).where(stored_objects.c.storage_key == storage_key))


async def seconds_to_next_removal(connection: AsyncConnection) -> float | None:
    """Return the seconds until the next removal is due (negative: overdue), None when there is none."""
    seconds = await connection.scalar(_NEXT)
    return None if seconds is None else float(seconds)


def _of_content(user_id: UUID, sha256: str) -> Select[tuple[str]]:
    return select(stored_objects.c.storage_key).where(
        stored_objects.c.user_id == user_id, stored_objects.c.sha256 == sha256, stored_objects.c.remove_at.is_(None)
    )


async def _lock_content(connection: AsyncConnection, user_id: UUID, sha256: str) -> None:
    key = {"key": f"{user_id}:{sha256}"}
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), key)


async def _replace_object(connection: AsyncConnection, old: str, new: str) -> None:
    """Give the files of one object another; the old one is given up."""
    await give_up_object(connection, old)
    names_old = and_(media.c.storage_key == old, media.c.deleted_at.is_(None))
    await connection.execute(update(media).where(names_old).values(storage_key=new, updated_at=func.now()))


async def known_objects(connection: AsyncConnection, storage_keys: Collection[str]) -> set[str]:
    """Return which of the keys have a row."""
    found = select(stored_objects.c.storage_key).where(stored_objects.c.storage_key.in_(storage_keys))
    return set(await connection.scalars(found))
