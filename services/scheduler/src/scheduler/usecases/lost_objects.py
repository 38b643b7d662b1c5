"""Find out, before an upload shares bytes that are there already, whether they really are there still."""

import structlog

from common.database.database import Database
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import Media
from scheduler.storage.stored_objects import LostObject, find_twin

_log = structlog.get_logger(__name__)


async def find_lost_twin(database: Database, storage: ObjectStorage, file: Media) -> LostObject | None:
    """Return the object that the file would share if the storage does not hold its bytes any more, else None.

    Asks the storage, so call it outside of transactions. Raises Transient while the storage is away.
    """
    async with database.read() as connection:
        twin = await find_twin(connection, file.user_id, file.sha256)
    if twin is None or twin == file.storage_key or await storage.size(twin) == file.size_bytes:
        return None
    # Looked at last: a storage that does not show what has just arrived either (a folder that is not mounted) proves nothing.
    if await storage.size(file.storage_key) != file.size_bytes:
        return None
    _log.warning("object_lost", key=twin, replaced_by=file.storage_key)
    return LostObject(twin, file.user_id, file.sha256)
