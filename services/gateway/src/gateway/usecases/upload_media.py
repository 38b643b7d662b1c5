"""Upload media: store the file, then let the scheduler take it into the library."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from common.contracts.context import Context
from common.contracts.scheduler import RegisterMedia
from common.errors import Problem
from common.ids import uuid7
from common.messaging.reply import Reply
from gateway.clients.object_store import ObjectStore
from gateway.usecases.run_command import Accepted, CommandIdentity, Commands
from gateway.usecases.store_upload import StoredUpload, media_key, store_upload

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in: whose, its name, the declared type, and its content as it arrives."""

    user_id: UUID
    filename: str
    declared: str
    blocks: AsyncIterator[bytes]


async def upload_media(
    store: ObjectStore,
    commands: Commands,
    upload: Upload,
    *,
    identify: Callable[[StoredUpload], CommandIdentity],
    context: Context,
    max_bytes: int,
) -> Reply | Accepted:
    """Return the scheduler's reply to `RegisterMedia`, or `Accepted` when it takes its time.

    The object is deleted again when nothing was accepted, when it was refused, or when the reply names another object: the
    first upload with the same Idempotency-Key. Raises what `store_upload` and `Commands.run` raise.
    """
    media_id = uuid7()
    key = media_key(upload.user_id, media_id)
    stored = await store_upload(store, upload.blocks, declared=upload.declared, key=key, max_bytes=max_bytes)
    try:
        answer = await commands.run(
            RegisterMedia(
                media_id=media_id,
                storage_key=key,
                filename=upload.filename,
                content_type=stored.content_type,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
            ),
            user_id=upload.user_id,
            scope="media:write",
            identity=identify(stored),
            context=context,
            subject=str(media_id),
        )
    except Problem:
        await asyncio.shield(_discard(store, key))
        raise
    if not _is_in_use(answer, media_id):
        await asyncio.shield(_discard(store, key))
    return answer


def _is_in_use(answer: Reply | Accepted, media_id: UUID) -> bool:
    """Tell whether the library has, or may come to have, the object; a failed command may be replayed by an operator."""
    if isinstance(answer, Accepted) or answer.status >= 500:
        return True
    return answer.status < 400 and (answer.body or {}).get("id") == str(media_id)


async def _discard(store: ObjectStore, key: str) -> None:
    """Delete an object nobody will ask for; a storage that fails costs space, not the answer."""
    try:
        await store.delete(key)
    except Problem:
        _log.exception("upload_not_discarded", key=key)
