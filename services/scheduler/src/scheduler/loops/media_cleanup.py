"""Loops of the media library: bytes nobody has any more, files nobody has used for long, uploads cut short on their way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from common.database.database import Database
from common.due_loop import DueLoop, StepResult
from common.messaging.outbox import Outbox
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.cleanup import Cleanup
from scheduler.usecases.clean_storage import REMOVAL_BATCH, Orphans, remove_objects
from scheduler.usecases.delete_media import PRUNE_BATCH, forget_old_uploads, prune_media
from scheduler.usecases.end_unjudged import Unjudged

REMOVAL_EVERY_S = 60.0
UNUSED_EVERY_S = 600.0
ORPHANS_EVERY_S = 1800.0
STORAGE_STEP_S = 1800.0
"""A step that calls the storage for each object; its calls have timeouts of their own."""


class MediaCleanup:
    """The three loops; `quiet` tells whether no registration waits anywhere."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        storage: ObjectStorage,
        cleanup: Cleanup,
        quiet: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._storage = storage
        self._cleanup = cleanup
        self._quiet = quiet
        self._orphans = Orphans(database, storage, grace=cleanup.orphan_grace, watch=cleanup.orphan_watch)
        self._unjudged = Unjudged(database, outbox, watch=cleanup.orphan_watch)
        self.removal = DueLoop("remove_objects", self.remove, max_sleep=REMOVAL_EVERY_S, step_timeout=STORAGE_STEP_S)
        self.unused = DueLoop("prune_media", self.prune, max_sleep=UNUSED_EVERY_S)
        self.orphans = DueLoop("orphaned_objects", self.remove_orphans, max_sleep=ORPHANS_EVERY_S, step_timeout=STORAGE_STEP_S)

    @property
    def loops(self) -> Sequence[DueLoop]:
        """What starts and stops with the service."""
        return (self.removal, self.unused, self.orphans)

    async def remove(self) -> StepResult:
        """Remove a batch of objects that were given up."""
        taken, next_in = await remove_objects(self._database, self._storage)
        return StepResult(done=taken, more=taken >= REMOVAL_BATCH, next_in=next_in)

    async def prune(self) -> StepResult:
        """Delete a batch of files that nothing has used for long."""
        async with self._database.transaction() as tx:
            await forget_old_uploads(tx, self._cleanup.reply_retention)
        if self._cleanup.unused_for is None:
            return StepResult()
        async with self._database.transaction() as tx:
            pruned = await prune_media(tx, self._outbox, unused_for=self._cleanup.unused_for)
            tx.after_commit(self.removal.wake)
        return StepResult(done=pruned, more=pruned >= PRUNE_BATCH)

    async def remove_orphans(self) -> StepResult:
        """Remove objects without a row, reject files without a verdict; only while no registration waits that could bring one."""
        now = asyncio.get_running_loop().time()
        orphans, unjudged = await self._orphans.look(now), await self._unjudged.look(now)
        if not (orphans or self._unjudged.watches):
            return StepResult()
        if not await self._quiet():
            self._unjudged.begin_anew()
            return StepResult()
        await self._unjudged.end(unjudged)
        return StepResult(done=await self._orphans.remove(orphans) + len(unjudged))
