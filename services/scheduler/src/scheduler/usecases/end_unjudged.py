"""Find files whose check nobody will ever end: their registration is gone, and its end as a dead letter was told to nobody."""

from collections.abc import Sequence
from uuid import UUID

from common.contracts.context import Context
from common.database.database import Database
from common.messaging.outbox import Outbox
from scheduler.storage.media import find_unjudged
from scheduler.usecases.post_events import SERVICE
from scheduler.usecases.register_media import give_up_media


class Unjudged:
    """Files that this process has seen `processing` for `watch` seconds of its own life, while no registration waited in a queue.

    One that a replica has in hand is over long before that. The caller knows of the queues, and calls `begin_anew` when one waits.
    """

    def __init__(self, database: Database, outbox: Outbox, *, watch: float) -> None:
        self._database = database
        self._outbox = outbox
        self._watch = watch
        self._seen: dict[tuple[UUID, UUID], float] = {}

    @property
    def watches(self) -> bool:
        """Whether it has seen any."""
        return bool(self._seen)

    def begin_anew(self) -> None:
        """Forget what was seen: a registration waits, and may be of any of these files."""
        self._seen.clear()

    async def look(self, now: float) -> Sequence[tuple[UUID, UUID]]:
        """Look at `now` (monotonic seconds) and return the files watched for long enough, each with its user."""
        async with self._database.read() as connection:
            found = await find_unjudged(connection)
        self._seen = {file: self._seen.get(file, now) for file in found}
        return [file for file, since in self._seen.items() if now - since >= self._watch]

    async def end(self, files: Sequence[tuple[UUID, UUID]]) -> None:
        """Reject those that are still being checked, as their dead letter would have; a replayed one judges them anew."""
        for media_id, user_id in files:
            async with self._database.transaction() as tx:
                context = Context.of_service(SERVICE, user_id=user_id)
                await give_up_media(tx, self._outbox, media_id, user_id, context=context)
