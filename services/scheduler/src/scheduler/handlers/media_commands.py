"""`RegisterMedia`: the probe runs outside the transaction, on a queue of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.contracts.envelope import Envelope
from common.contracts.registry import parse
from common.contracts.scheduler import RegisterMedia
from common.database.database import Database, Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_prepared_command
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.media import MediaStatus
from scheduler.encoding import media_json
from scheduler.probe.prober import Prober
from scheduler.usecases.create_post import owner
from scheduler.usecases.register_media import Verdict, give_up_media, judge_upload, note_upload, register_media


@dataclass(frozen=True, slots=True)
class MediaCommands:
    """Handlers of the media commands with what they need."""

    database: Database
    outbox: Outbox
    storage: ObjectStorage
    prober: Prober

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the media queue."""
        return (on_prepared_command(RegisterMedia, self.prepare, self.register),)

    async def prepare(self, command: RegisterMedia, envelope: Envelope) -> Verdict:
        """Note the upload, so that the file shows as `processing`, then probe it."""
        await note_upload(self.database, command, owner(envelope))
        return await judge_upload(self.storage, self.prober, command)

    async def register(self, tx: Transaction, command: RegisterMedia, envelope: Envelope, verdict: Verdict) -> Reply:
        """Store the verdict: 201 with the media, or 422 `media_rejected` with every rule broken."""
        media = await register_media(tx, self.outbox, command.media_id, owner(envelope), verdict, context=envelope.context)
        if media.status == MediaStatus.READY:
            return Reply(status=201, body=media_json(media), headers={"Location": f"/api/v1/media/{media.id}"})
        rejected = Problem(
            422,
            "media_rejected",
            f"The file breaks {len(media.problems)} of TikTok's rules.",
            hint="Each entry of errors names what was found and what is allowed.",
            extra={"errors": media.problems, "media_id": str(media.id)},
        )
        return Reply.of_problem(rejected)

    async def on_dead(self, envelope: Envelope) -> None:
        """Reject the file of a registration that became a dead letter; raises Permanent when the command cannot be read."""
        command = parse(envelope, RegisterMedia)
        async with self.database.transaction() as tx:
            await give_up_media(tx, self.outbox, command.media_id, owner(envelope), context=envelope.context)
