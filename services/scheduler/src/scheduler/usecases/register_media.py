"""Take an uploaded file into the library: known at once, judged by the probe, then ready or rejected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from common.contracts.context import Context
from common.contracts.scheduler import MediaFile, MediaReady, MediaRejected, RegisterMedia
from common.database.database import Database, Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.clients.object_storage import ObjectMissing, ObjectStorage
from scheduler.domain.media import Media, MediaStatus, thumbnail_key
from scheduler.domain.media_rules import MediaProblem, PhotoFacts, VideoFacts, check_media
from scheduler.probe.prober import Prober
from scheduler.storage.media import NewMedia, add_media, change_media, lock_media
from scheduler.storage.stored_objects import LostObject, add_object, give_up_object, lock_lost, share_object
from scheduler.usecases.lost_objects import find_lost_twin
from scheduler.usecases.media_quota import require_room
from scheduler.usecases.problems import media_not_found

CHECK_FAILED = MediaProblem("file", "check_failed", "The file could not be checked.", hint="Upload it again.")
"""The verdict on a file whose registration was given up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probe found: the facts, if the file can be read, and every rule that it breaks.

    `lost` is the object of the same content that the storage does not hold any more.
    """

    facts: VideoFacts | PhotoFacts | None
    problems: tuple[MediaProblem, ...]
    has_thumbnail: bool = False
    lost: LostObject | None = None

    @property
    def is_good(self) -> bool:
        """Whether the file becomes ready."""
        return self.facts is not None and not self.problems


async def note_upload(
    database: Database, command: RegisterMedia, command_id: UUID, user_id: UUID, *, allowed_bytes: int = 0
) -> Media:
    """Store the file as `processing`, so that it is known while the probe runs, and return it; repeating it changes nothing.

    A second upload with the same Idempotency-Key is the first one's file, and its own object is nobody's. Raises Problem 422
    `idempotency_key_reused` when it brings something else, and what `require_room` raises when the user may have no more bytes.
    """
    new = NewMedia(
        id=command.media_id,
        command_id=command_id,
        user_id=user_id,
        filename=command.filename,
        content_type=command.content_type,
        size_bytes=command.size_bytes,
        sha256=command.sha256,
        storage_key=command.storage_key,
    )
    async with database.transaction() as tx:
        await require_room(tx, new, allowed_bytes)
        noted = await add_media(tx.connection, new)
        if noted.id == new.id and noted.status == MediaStatus.PROCESSING:
            await add_object(tx.connection, noted.storage_key, user_id)
    same = (noted.sha256, noted.content_type, noted.filename) == (new.sha256, new.content_type, new.filename)
    if noted.command_id == command_id and not same:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used with another file.",
            hint="Send a new key for a new request.",
        )
    return noted


async def judge_upload(storage: ObjectStorage, prober: Prober, file: Media) -> Verdict:
    """Probe the file, hold it against TikTok's rules and store its thumbnail; what is wrong with it is a verdict, no error.

    Raises NoPlace when it got no turn, Transient while the storage is away.
    """
    if file.status != MediaStatus.PROCESSING and not is_unchecked(file):
        return Verdict(None, ())
    try:
        async with prober.turn(file.user_id), storage.local_file(file.storage_key) as path:
            found = await prober.probe(path, file.user_id)
    except ObjectMissing:
        return Verdict(None, (MediaProblem("file", "file_missing", "The uploaded file is not in the object storage."),))
    if isinstance(found, MediaProblem):
        return Verdict(None, (found,))
    problems = check_media(found.facts, size_bytes=file.size_bytes)
    if found.thumbnail is not None and not problems:
        await storage.write(thumbnail_key(file.storage_key), found.thumbnail)
    return Verdict(found.facts, tuple(problems), has_thumbnail=found.thumbnail is not None)


async def look_for_lost(database: Database, storage: ObjectStorage, file: Media, verdict: Verdict) -> Verdict:
    """Return the verdict with the object that a good file would share and that the storage lost; raises Transient."""
    return replace(verdict, lost=await find_lost_twin(database, storage, file)) if verdict.is_good else verdict


async def register_media(
    tx: Transaction, outbox: Outbox, media_id: UUID, user_id: UUID, verdict: Verdict, *, context: Context
) -> Media:
    """Store the verdict and emit `MediaReady` or `MediaRejected`; a file that was judged before stays as it is.

    Identical bytes of a user are kept once: the file shares an object that is there already. Where that was lost, all that share
    it get the file's own. One that could not be checked is judged when its registration runs again (a replayed dead letter).
    Raises Problem 404 when the file is another user's.
    """
    if verdict.lost is not None:
        await lock_lost(tx.connection, verdict.lost, media_id)
    media = await lock_media(tx.connection, media_id, user_id)
    if media is None:
        raise media_not_found()
    if media.status != MediaStatus.PROCESSING and not is_unchecked(media):
        return media
    columns = _columns(verdict)
    if verdict.is_good:
        columns["storage_key"] = await share_object(
            tx.connection,
            media.storage_key,
            user_id,
            media.sha256,
            has_thumbnail=verdict.has_thumbnail,
            lost=verdict.lost,
        )
    elif CHECK_FAILED not in verdict.problems:
        await give_up_object(tx.connection, media.storage_key)
    changed = await change_media(tx.connection, media, columns)
    event = _ready(changed, verdict.facts) if verdict.facts is not None and not verdict.problems else _rejected(changed)
    await outbox.emit(tx, event, subject=str(changed.id), context=context, sequence=changed.version)
    return changed


async def give_up_media(tx: Transaction, outbox: Outbox, media_id: UUID, user_id: UUID, *, context: Context) -> None:
    """Reject a file that is still being checked, because its registration became a dead letter: nobody would ever judge it."""
    media = await lock_media(tx.connection, media_id, user_id)
    if media is not None and media.status == MediaStatus.PROCESSING:
        await register_media(tx, outbox, media_id, user_id, Verdict(None, (CHECK_FAILED,)), context=context)


def is_unchecked(media: Media) -> bool:
    """Tell whether a file was rejected only because it could not be checked."""
    return media.problems == [CHECK_FAILED.to_json()]


def problems_json(problems: Sequence[MediaProblem]) -> list[dict[str, Any]]:
    """Return broken rules as they stand in `errors`."""
    return [problem.to_json() for problem in problems]


def _columns(verdict: Verdict) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "status": MediaStatus.REJECTED if verdict.problems else MediaStatus.READY,
        "problems": problems_json(verdict.problems),
    }
    facts = verdict.facts
    if facts is not None:
        columns |= {"container": facts.container, "width": facts.width, "height": facts.height}
    if isinstance(facts, VideoFacts):
        columns |= {"video_codec": facts.video_codec, "duration_ms": facts.duration_ms, "fps": facts.fps}
    return columns


def _ready(media: Media, facts: VideoFacts | PhotoFacts) -> MediaReady:
    return MediaReady(
        media=MediaFile(
            media_id=media.id,
            storage_key=media.storage_key,
            content_type=media.content_type,
            size_bytes=media.size_bytes,
            sha256=media.sha256,
            duration_ms=media.duration_ms,
        ),
        filename=media.filename,
        width=facts.width,
        height=facts.height,
        fps=media.fps,
        video_codec=media.video_codec,
    )


def _rejected(media: Media) -> MediaRejected:
    return MediaRejected(media_id=media.id, filename=media.filename, problems=media.problems)
