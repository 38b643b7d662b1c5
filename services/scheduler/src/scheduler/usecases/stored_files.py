"""Whether the bytes of a file of the library are still in the object storage, as far as that is known within a second."""

import asyncio
from uuid import UUID

import structlog

from common.database.database import Database
from common.errors import Transient
from scheduler.clients.object_storage import ObjectStorage
from scheduler.clients.remembered import Remembered
from scheduler.storage.media import get_media

_log = structlog.get_logger(__name__)


class StoredFiles:
    """Looks into the storage, and remembers for a minute what it saw."""

    def __init__(self, database: Database, storage: ObjectStorage) -> None:
        self._database = database
        self._storage = storage
        self.remembered = Remembered(self._ask)

    async def look(self, media_id: UUID, user_id: UUID) -> bool | None:
        """Tell whether a user's file is there, None when that cannot be found out within a second, or there is no such file."""
        return await self.remembered.look(media_id, user_id)

    async def _ask(self, media_id: UUID, user_id: UUID, patience: float) -> bool | None:
        try:
            async with asyncio.timeout(patience):
                async with self._database.read() as connection:
                    media = await get_media(connection, media_id, user_id)
                return None if media is None else await self._storage.exists(media.storage_key)
        except (TimeoutError, Transient) as error:
            _log.info("file_unseen", media_id=str(media_id), reason=str(error))
            return None
