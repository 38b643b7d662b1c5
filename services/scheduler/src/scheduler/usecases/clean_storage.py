"""Remove from object storage what nobody needs any more: bytes given up, and objects that never got a row."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from common.clock import utc_now
from common.database.database import Database
from common.errors import Transient
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import OBJECTS, THUMBNAILS, object_of_thumbnail, thumbnail_key
from scheduler.storage.stored_objects import claim_removals, forget_object, known_objects, seconds_to_next_removal

REMOVAL_BATCH = 20
FIRST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(hours=1)
MOST_WATCHED = 50_000

_log = structlog.get_logger(__name__)


async def remove_objects(database: Database, storage: ObjectStorage) -> tuple[int, float | None]:
    """Remove a batch of objects that were given up; returns how many were taken, and the seconds until the next is due.

    A storage that is away costs nothing but time: what was not removed comes back after a while that doubles.
    """
    async with database.transaction() as tx:
        keys = await claim_removals(tx.connection, batch=REMOVAL_BATCH, first_retry=FIRST_RETRY, longest_retry=LONGEST_RETRY)
    for key in keys:
        await _remove(database, storage, key)
    async with database.read() as connection:
        return len(keys), await seconds_to_next_removal(connection)


async def _remove(database: Database, storage: ObjectStorage, key: str) -> None:
    try:
        await storage.remove(key)
        await storage.remove(thumbnail_key(key))
    except Transient as error:
        _log.warning("object_not_removed", key=key, reason=str(error))
        return
    async with database.transaction() as tx:
        await forget_object(tx.connection, key)


class Orphans:
    """Finds objects of the library that have no row: their upload died between the last byte and its registration.

    One is removed only when it is older than `grace` and this process has seen it without a row for `watch` seconds of its own
    life: a registration that is still on its way, however long the scheduler was away, brings the row before that. The caller
    makes sure that none waits in a queue.
    """

    def __init__(self, database: Database, storage: ObjectStorage, *, grace: timedelta, watch: float) -> None:
        self._database = database
        self._storage = storage
        self._grace = grace
        self._watch = watch
        self._seen: dict[str, float] = {}

    async def look(self, now: float) -> Sequence[str]:
        """Look through the storage at `now` (monotonic seconds) and return the orphans watched for long enough."""
        found: dict[str, float] = {}
        before = utc_now() - self._grace
        for prefix in (OBJECTS, THUMBNAILS):
            async for page in self._storage.pages(prefix, before=before):
                for key in await self._without_row(page):
                    if len(found) < MOST_WATCHED:
                        found[key] = self._seen.get(key, now)
        self._seen = found
        return [key for key, since in found.items() if now - since >= self._watch]

    async def remove(self, keys: Sequence[str]) -> int:
        """Remove those of the orphans that have no row even now; returns how many."""
        orphans = await self._without_row(keys)
        for key in orphans:
            await self._storage.remove(key)
            self._seen.pop(key, None)
            _log.info("orphan_removed", key=key)
        return len(orphans)

    async def _without_row(self, keys: Sequence[str]) -> Sequence[str]:
        if not keys:
            return []
        owners = {key: object_of_thumbnail(key) if key.startswith(THUMBNAILS) else key for key in keys}
        async with self._database.read() as connection:
            known = await known_objects(connection, set(owners.values()))
        return [key for key, owner in owners.items() if owner not in known]
