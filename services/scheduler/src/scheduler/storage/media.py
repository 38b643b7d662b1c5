"""Reading and writing the media library."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.media import Media, MediaStatus
from scheduler.storage.tables import media

# Asked for every post, so made once.
_FOUND = (
    select(media)
    .where(
        media.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
        media.c.user_id == bindparam("owner_id"),
        media.c.deleted_at.is_(None),
    )
    .order_by(media.c.id)
)
_FOUND_AND_LOCKED = _FOUND.with_for_update(read=True)


@dataclass(frozen=True, slots=True)
class NewMedia:
    """A file that has arrived in object storage and was not probed yet; `command_id` is the upload that brought it."""

    id: UUID
    command_id: UUID
    user_id: UUID
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    storage_key: str


def to_media(row: Any) -> Media:
    """Return the file of a full row of the table."""
    return Media(*row)


async def add_media(connection: AsyncConnection, new: NewMedia) -> Media:
    """Store a file as `processing` and return it; one of the same upload (or id) that is there already is returned as it is.

    Concurrent adds of one upload wait for each other.
    """
    values = {
        "id": new.id,
        "user_id": new.user_id,
        "status": "processing",
        "filename": new.filename,
        "content_type": new.content_type,
        "size_bytes": new.size_bytes,
        "sha256": new.sha256,
        "storage_key": new.storage_key,
        "command_id": new.command_id,
    }
    await connection.execute(insert(media).values(values).on_conflict_do_nothing())
    row = (await connection.execute(select(media).where(media.c.command_id == new.command_id))).one_or_none()
    if row is None:
        row = (await connection.execute(select(media).where(media.c.id == new.id))).one()
    return to_media(row)


async def media_of_upload(connection: AsyncConnection, command_id: UUID) -> UUID | None:
    """Return the file that an upload brought, None when it has not been noted."""
    found: UUID | None = await connection.scalar(select(media.c.id).where(media.c.command_id == command_id))
    return found


async def find_unjudged(connection: AsyncConnection) -> Sequence[tuple[UUID, UUID]]:
    """Return the files that are being checked, each with its user; a thousand at most."""
    being_checked = media.c.command_id.is_not(None), media.c.status == MediaStatus.PROCESSING, media.c.deleted_at.is_(None)
    rows = await connection.execute(select(media.c.id, media.c.user_id).where(*being_checked).order_by(media.c.id).limit(1000))
    return [(row.id, row.user_id) for row in rows]


async def get_media(connection: AsyncConnection, media_id: UUID, user_id: UUID) -> Media | None:
    """Return a user's file, None when there is none."""
    row = (await connection.execute(_of_user(media_id, user_id))).one_or_none()
    return None if row is None else to_media(row)


async def lock_media(connection: AsyncConnection, media_id: UUID, user_id: UUID) -> Media | None:
    """Return a user's file, locked until the transaction ends."""
    row = (await connection.execute(_of_user(media_id, user_id).with_for_update())).one_or_none()
    return None if row is None else to_media(row)


async def find_media(
    connection: AsyncConnection, media_ids: Collection[UUID], user_id: UUID, *, lock: bool
) -> dict[UUID, Media]:
    """Return a user's files by id; with `lock` kept from being deleted until the transaction ends, in the order of their ids."""
    if not media_ids:
        return {}
    rows = await connection.execute(_FOUND_AND_LOCKED if lock else _FOUND, {"ids": list(media_ids), "owner_id": user_id})
    return {row.id: to_media(row) for row in rows}


async def change_media(connection: AsyncConnection, file: Media, changes: dict[str, Any]) -> Media:
    """Write `changes` into a file that this transaction has locked; its version grows by one."""
    statement = (
        update(media)
        .where(media.c.id == file.id)
        .values(version=file.version + 1, updated_at=func.now(), **changes)
        .returning(*media.c)
    )
    return to_media((await connection.execute(statement)).one())


def _of_user(media_id: UUID, user_id: UUID) -> Any:
    return select(media).where(media.c.id == media_id, media.c.user_id == user_id, media.c.deleted_at.is_(None))
