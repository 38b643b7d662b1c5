"""Take files out of the library: at their owner's word, or because nothing has used them for long."""

from datetime import timedelta
from uuid import UUID

from common.contracts.context import Context
from common.contracts.scheduler import MediaDeleted
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.media import Media, MediaStatus
from scheduler.storage.clock import database_now
from scheduler.storage.media import change_media, lock_media
from scheduler.storage.media_use import forget_uploads, lock_unused, posts_using
from scheduler.storage.stored_objects import release_object
from scheduler.usecases.media_problems import media_in_use, media_not_ready
from scheduler.usecases.post_events import SERVICE
from scheduler.usecases.problems import media_not_found

NAMED_POSTS = 10
PRUNE_BATCH = 100


async def delete_media(tx: Transaction, outbox: Outbox, media_id: UUID, user_id: UUID, *, context: Context) -> None:
    """Delete a file and emit `MediaDeleted`; its bytes are removed after the commit once no other file shares them.

    Raises Problem 404, 409 `media_not_ready` while it is being checked, 409 `media_in_use` while a post needs it. A post made
    at the same time either has the file and stops this, or is told that there is no such file.
    """
    media = await lock_media(tx.connection, media_id, user_id)
    if media is None:
        raise media_not_found()
    if media.status == MediaStatus.PROCESSING:
        raise media_not_ready()
    using = await posts_using(tx.connection, media_id, limit=NAMED_POSTS)
    if using:
        raise media_in_use(using)
    await _drop(tx, outbox, media, MediaDeleted(media_id=media.id), context)


async def prune_media(tx: Transaction, outbox: Outbox, *, unused_for: timedelta) -> int:
    """Delete files that no post has used for that long and emit `MediaDeleted` for each; returns how many, 100 at most."""
    unused = await lock_unused(tx.connection, older_than=unused_for, limit=PRUNE_BATCH)
    for media in unused:
        context = Context.of_service(SERVICE, user_id=media.user_id)
        await _drop(tx, outbox, media, MediaDeleted(media_id=media.id, reason="pruned"), context)
    return len(unused)


async def forget_old_uploads(tx: Transaction, retention: timedelta) -> None:
    """Forget which upload brought a file once the ids of commands are forgotten, too."""
    await forget_uploads(tx.connection, older_than=retention)


async def _drop(tx: Transaction, outbox: Outbox, media: Media, event: MediaDeleted, context: Context) -> None:
    dropped = await change_media(tx.connection, media, {"deleted_at": await database_now(tx.connection)})
    await release_object(tx.connection, media.storage_key)
    await outbox.emit(tx, event, subject=str(media.id), context=context, sequence=dropped.version)
