"""Commands about files: `RegisterMedia` (the probe runs outside the transaction, on a queue of its own) and `DeleteMedia`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from common.contracts.envelope import Envelope
from common.contracts.registry import parse
from common.contracts.scheduler import DeleteMedia, RegisterMedia
from common.database.database import Database, Transaction
from common.errors import Problem, Transient
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_command, on_prepared_command
from common.places import NoPlace
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import Media, MediaStatus
from scheduler.encoding import media_json
from scheduler.probe.prober import Prober
from scheduler.storage.media import media_of_upload
from scheduler.usecases.create_post import owner
from scheduler.usecases.delete_media import delete_media
from scheduler.usecases.register_media import (
    Verdict,
    give_up_media,
    judge_upload,
    look_for_lost,
    note_upload,
    register_media,
)

TURN_WITHIN = timedelta(days=1)
AGAIN_WITHIN_S = 30.0
"""Places come free in seconds: whoever waited for five minutes would leave them empty."""
"""So long a file is tried again that got no turn to be looked into."""


@dataclass(frozen=True, slots=True)
class MediaCommands:
    """Handlers of the media commands with what they need; `wake_removal` is called when bytes may have become nobody's.

    A user may have `bytes_per_user` stored, any number if that is 0.
    """

    database: Database
    outbox: Outbox
    storage: ObjectStorage
    prober: Prober
    wake_removal: Callable[[], None]
    bytes_per_user: int = 0

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the media queue."""
        return (on_prepared_command(RegisterMedia, self.prepare, self.register),)

    def quick_routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the command queue."""
        return (on_command(DeleteMedia, self.delete),)

    async def prepare(self, command: RegisterMedia, envelope: Envelope) -> tuple[Media, Verdict]:
        """Note the upload, so that the file shows as `processing`, then probe it in its user's turn."""
        file = await note_upload(self.database, command, envelope.id, owner(envelope), allowed_bytes=self.bytes_per_user)
        try:
            verdict = await judge_upload(self.storage, self.prober, file)
        except NoPlace as error:
            raise Transient(
                "no place to look into the file", until=envelope.time + TURN_WITHIN, at_most=AGAIN_WITHIN_S
            ) from error
        return file, await look_for_lost(self.database, self.storage, file, verdict)

    async def register(
        self, tx: Transaction, command: RegisterMedia, envelope: Envelope, prepared: tuple[Media, Verdict]
    ) -> Reply:
        """Store the verdict: 201 with the media, or 422 `media_rejected` with every rule broken."""
        del command
        file, verdict = prepared
        media = await register_media(tx, self.outbox, file.id, owner(envelope), verdict, context=envelope.context)
        tx.after_commit(self.wake_removal)
        if media.status == MediaStatus.READY:
            return Reply(status=201, body=media_json(media), headers={"Location": f"/api/v1/media/{media.id}"})
        return Reply.of_problem(_rejected(media))

    async def delete(self, tx: Transaction, command: DeleteMedia, envelope: Envelope) -> Reply:
        """Delete the file: 204."""
        await delete_media(tx, self.outbox, command.media_id, owner(envelope), context=envelope.context)
        tx.after_commit(self.wake_removal)
        return Reply(status=204)

    async def on_dead(self, envelope: Envelope) -> None:
        """Reject the file of a registration that became a dead letter; raises Permanent when the command cannot be read."""
        command = parse(envelope, RegisterMedia)
        user_id = owner(envelope)
        async with self.database.transaction() as tx:
            media_id = await media_of_upload(tx.connection, envelope.id) or command.media_id
            await give_up_media(tx, self.outbox, media_id, user_id, context=envelope.context)


def _rejected(media: Media) -> Problem:
    count = len(media.problems)
    return Problem(
        422,
        "media_rejected",
        f"The file breaks {count} of TikTok's rules." if count > 1 else "The file breaks a rule of TikTok's.",
        hint="Each entry of errors names what was found and what is allowed.",
        extra={"errors": media.problems, "media_id": str(media.id)},
    )
