"""Removing fetched files: those of jobs that have ended, and what replicas that died left behind."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from common.database import Database
from common.due_loop import DueLoop, StepResult
from publisher.clients.fetched_files import FetchedFiles
from publisher.clients.media_store import MediaUnavailable
from publisher.storage import fetched_files

ENDED_EVERY_SECONDS = 10.0
LEFT_EVERY_SECONDS = 1800.0
STEP_SECONDS = 900.0
"""A step calls the storage for each file; its calls have timeouts of their own."""
BATCH = 100
LEFT_AFTER = timedelta(hours=1)
"""A file that is being fetched grows all the time, and is checkpointed within a lease once it is whole."""

_log = structlog.get_logger(__name__)


class FetchedFilesCleanup:
    """Two loops. Removing a file twice does no harm, so replicas need not agree."""

    def __init__(self, database: Database, files: FetchedFiles) -> None:
        self._database = database
        self._files = files
        self.ended = DueLoop("fetched_files", self.remove_ended, max_sleep=ENDED_EVERY_SECONDS, step_timeout=STEP_SECONDS)
        self.left = DueLoop("left_files", self.remove_left, max_sleep=LEFT_EVERY_SECONDS, step_timeout=STEP_SECONDS)

    @property
    def loops(self) -> Sequence[DueLoop]:
        """What starts and stops with the service."""
        return (self.ended, self.left)

    async def remove_ended(self) -> StepResult:
        """Remove a batch of files whose jobs have ended; while the storage is away they wait."""
        async with self._database.read() as connection:
            ended = await fetched_files.of_ended_jobs(connection, limit=BATCH)
        removed = []
        for job_id, key in ended:
            try:
                await self._files.remove(key)
            except MediaUnavailable as error:
                _log.warning("fetched_file_not_removed", key=key, reason=str(error))
                break
            removed.append(job_id)
        if removed:
            async with self._database.transaction() as tx:
                await fetched_files.note_removed(tx.connection, removed)
        return StepResult(done=len(removed), more=len(removed) == BATCH)

    async def remove_left(self) -> StepResult:
        """Remove files and beginnings of files that are an hour old and that no open job has checkpointed."""
        try:
            found = await self._files.older_than(LEFT_AFTER)
            async with self._database.read() as connection:
                needed = await fetched_files.needed_of(connection, {file.job_id for file in found})
            left = [file for file in found if file.key not in needed]
            for file in left:
                await self._files.discard(file)
                _log.info("left_file_removed", key=file.key)
        except MediaUnavailable as error:
            _log.warning("left_files_not_removed", reason=str(error))
            return StepResult()
        return StepResult(done=len(left))
