"""Take an uploaded file into the library: known at once, judged by the probe, then ready or rejected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from common.contracts.context import Context
from common.contracts.scheduler import MediaFile, MediaReady, MediaRejected, RegisterMedia
from common.database.database import Database, Transaction
from common.messaging.outbox import Outbox
from scheduler.clients.object_storage import ObjectMissing, ObjectStorage
from scheduler.domain.media import Media, MediaStatus
from scheduler.domain.media_rules import MediaProblem, VideoFacts, check_video
from scheduler.probe.prober import Prober
from scheduler.storage.media import NewMedia, add_media, change_media, lock_media
from scheduler.usecases.problems import media_not_found

CHECK_FAILED = MediaProblem("file", "check_failed", "The file could not be checked. Upload it again.")
"""The verdict on a file whose registration was given up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probe found: the facts, if the file can be read, and every rule that it breaks."""

    facts: VideoFacts | None
    problems: tuple[MediaProblem, ...]


async def note_upload(database: Database, command: RegisterMedia, user_id: UUID) -> None:
    """Store the file as `processing`, so that it is known while the probe runs; repeating it changes nothing."""
    new = NewMedia(
        id=command.media_id,
        user_id=user_id,
        filename=command.filename,
        content_type=command.content_type,
        size_bytes=command.size_bytes,
        sha256=command.sha256,
        storage_key=command.storage_key,
    )
    async with database.transaction() as tx:
        await add_media(tx.connection, new)


async def judge_upload(storage: ObjectStorage, prober: Prober, command: RegisterMedia) -> Verdict:
    """Probe the file and hold it against TikTok's rules; what is wrong with a file is a verdict, never an error."""
    try:
        async with storage.local_file(command.storage_key) as path:
            found = await prober.probe(path)
    except ObjectMissing:
        return Verdict(None, (MediaProblem("file", "file_missing", "The uploaded file is not in the object storage."),))
    if isinstance(found, MediaProblem):
        return Verdict(None, (found,))
    return Verdict(found, tuple(check_video(found, size_bytes=command.size_bytes)))


async def register_media(
    tx: Transaction, outbox: Outbox, media_id: UUID, user_id: UUID, verdict: Verdict, *, context: Context
) -> Media:
    """Store the verdict and emit `MediaReady` or `MediaRejected`; a file that was judged before stays as it is.

    One that could not be checked is judged when its registration runs again (a replayed dead letter).
    Raises Problem 404 when the file is another user's.
    """
    media = await lock_media(tx.connection, media_id, user_id)
    if media is None:
        raise media_not_found()
    if media.status != MediaStatus.PROCESSING and media.problems != [CHECK_FAILED.to_json()]:
        return media
    changed = await change_media(tx.connection, media, _columns(verdict))
    event = _ready(changed, verdict.facts) if verdict.facts is not None and not verdict.problems else _rejected(changed)
    await outbox.emit(tx, event, subject=str(changed.id), context=context, sequence=changed.version)
    return changed


async def give_up_media(tx: Transaction, outbox: Outbox, media_id: UUID, user_id: UUID, *, context: Context) -> None:
    """Reject a file that is still being checked, because its registration became a dead letter: nobody would ever judge it."""
    media = await lock_media(tx.connection, media_id, user_id)
    if media is not None and media.status == MediaStatus.PROCESSING:
        await register_media(tx, outbox, media_id, user_id, Verdict(None, (CHECK_FAILED,)), context=context)


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
        columns |= {
            "container": facts.container,
            "video_codec": facts.video_codec,
            "duration_ms": facts.duration_ms,
            "width": facts.width,
            "height": facts.height,
            "fps": facts.fps,
        }
    return columns


def _ready(media: Media, facts: VideoFacts) -> MediaReady:
    return MediaReady(
        media=MediaFile(
            media_id=media.id,
            storage_key=media.storage_key,
            content_type=media.content_type,
            size_bytes=media.size_bytes,
            sha256=media.sha256,
            duration_ms=facts.duration_ms,
        ),
        filename=media.filename,
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
        video_codec=facts.video_codec,
    )


def _rejected(media: Media) -> MediaRejected:
    return MediaRejected(media_id=media.id, filename=media.filename, problems=media.problems)
