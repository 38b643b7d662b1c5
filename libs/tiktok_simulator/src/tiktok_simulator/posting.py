"""Content Posting API besides the inits: creator info, status, cancelling."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import ApiError, ok
from tiktok_simulator.caps import privacy_options, refuse_direct
from tiktok_simulator.display import avatar_url, base_url
from tiktok_simulator.paths import CANCEL, CREATOR_INFO, STATUS_FETCH
from tiktok_simulator.personas import Creator, Persona
from tiktok_simulator.publications import COMPLETE, FILE_UPLOAD, PROCESSING_UPLOAD, Publication
from tiktok_simulator.requests import authorized, json_object
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]
_EITHER = ("video.upload", "video.publish")


@router.post(CREATOR_INFO)
async def creator_info(request: Request, simulator: State) -> JSONResponse:
    """Return what the creator may post; caps come as a refusal inside HTTP 200."""
    _, creator = authorized(simulator, request, ("video.publish",), quotas.CREATOR_INFO)
    refuse_direct(simulator, creator)
    is_private = creator.persona is Persona.PRIVATE
    return ok(
        {
            "creator_avatar_url": avatar_url(creator, base_url(simulator, request)),
            "creator_username": creator.username,
            "creator_nickname": creator.display_name,
            "privacy_level_options": list(privacy_options(simulator, creator)),
            "comment_disabled": creator.comment_disabled,
            "duet_disabled": is_private,
            "stitch_disabled": is_private,
            "max_video_post_duration_sec": creator.max_video_post_duration_sec,
        }
    )


@router.post(STATUS_FETCH)
async def status_fetch(request: Request, simulator: State) -> JSONResponse:
    """Return the state of one of the creator's publications."""
    _, creator = authorized(simulator, request, _EITHER, quotas.STATUS)
    publication = _own(simulator, creator, await json_object(request))
    uploading = publication.source == FILE_UPLOAD
    data: dict[str, Any] = {
        "status": publication.status,
        "uploaded_bytes" if uploading else "downloaded_bytes": _counted(simulator, publication),
    }
    if publication.fail_reason is not None:
        data["fail_reason"] = publication.fail_reason
    if publication.status == COMPLETE:
        data["publicaly_available_post_id"] = _visible_post_ids(simulator, publication)
    return ok(data)


@router.post(CANCEL)
async def cancel(request: Request, simulator: State) -> JSONResponse:
    """Give up a fetch that is under way; the answer carries no ``data``."""
    _, creator = authorized(simulator, request, _EITHER, quotas.CANCEL)
    publication = _own(simulator, creator, await json_object(request))
    if not simulator.downloads.cancel(publication):
        raise ApiError("publish_not_cancellable", "The publish action cannot be cancelled in its current state.")
    return ok(None)


def _own(simulator: Simulator, creator: Creator, body: dict[str, Any]) -> Publication:
    publish_id = body.get("publish_id")
    publication = simulator.ledger.get(publish_id) if isinstance(publish_id, str) else None
    kept = simulator.settings.publish_id_seconds
    if publication is None or (kept and simulator.clock.now() >= publication.created_at + kept):
        raise ApiError("invalid_publish_id", "The publish_id does not exist.")
    if publication.open_id != creator.open_id:
        raise ApiError(
            "token_not_authorized_for_specified_publish_id",
            "The access token is not authorized for the specified publish_id.",
        )
    return publication


def _counted(simulator: Simulator, publication: Publication) -> int:
    """Return how many bytes the status counts: without the last chunk for a while, if the settings say so."""
    counts_at = (publication.uploaded_at or 0.0) + simulator.settings.uploaded_bytes_lag_seconds
    is_late = publication.status == PROCESSING_UPLOAD and publication.uploaded_at is not None
    if is_late and simulator.clock.now() < counts_at:
        return (publication.chunk_count - 1) * publication.chunk_size
    return publication.received


def _visible_post_ids(simulator: Simulator, publication: Publication) -> Any:
    at = simulator.clock.now()
    seen = [post for post in publication.posts if post.public_at is not None and post.public_at <= at and not post.deleted]
    ids = [post.post_id if simulator.settings.ids_as_strings else int(post.post_id) for post in seen]
    return ids[0] if simulator.settings.ids_bare and len(ids) == 1 else ids
