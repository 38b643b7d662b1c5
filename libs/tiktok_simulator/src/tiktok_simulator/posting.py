"""Content Posting API: creator info, init of a direct post, status."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import CREATOR_INFO, ApiError, ok
from tiktok_simulator.clock import now
from tiktok_simulator.display import avatar_url, base_url
from tiktok_simulator.init_rules import check_chunks, check_options, check_privacy, check_title
from tiktok_simulator.ledger import Publication
from tiktok_simulator.personas import PRIVATE_OPTIONS, PUBLIC_OPTIONS, Creator, Persona
from tiktok_simulator.requests import authorized, json_object
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]

VIDEO_INIT = "/v2/post/publish/video/init/"
STATUS_FETCH = "/v2/post/publish/status/fetch/"
UPLOAD = "/_upload/video/"


@router.post(CREATOR_INFO)
async def creator_info(request: Request, simulator: State) -> JSONResponse:
    """Return what the creator may post; caps come as a refusal inside HTTP 200."""
    _, creator = authorized(simulator, request, ("video.publish",), quotas.CREATOR_INFO)
    _refuse_capped(simulator, creator)
    is_private = creator.persona is Persona.PRIVATE
    return ok(
        {
            "creator_avatar_url": avatar_url(creator, base_url(simulator, request)),
            "creator_username": creator.username,
            "creator_nickname": creator.display_name,
            "privacy_level_options": list(_privacy_options(simulator, creator)),
            "comment_disabled": creator.comment_disabled,
            "duet_disabled": is_private,
            "stitch_disabled": is_private,
            "max_video_post_duration_sec": creator.max_video_post_duration_sec,
        }
    )


@router.post(VIDEO_INIT)
async def video_init(request: Request, simulator: State) -> JSONResponse:
    """Start a direct post by upload."""
    _, creator = authorized(simulator, request, ("video.publish",), quotas.INIT)
    body = await json_object(request)
    post_info, source_info = _object(body, "post_info"), _object(body, "source_info")
    title, options = check_title(post_info), check_options(post_info)
    _refuse_other_sources(source_info)
    size, chunk_size, chunk_count = check_chunks(source_info, simulator.settings.megabyte_bytes)
    _refuse_capped(simulator, creator)
    privacy_level = check_privacy(post_info, _privacy_options(simulator, creator))
    _refuse_unaudited(simulator, creator, privacy_level)
    identifier = simulator.ledger.fresh_id()
    publication = Publication(
        publish_id=f"v_pub_file~v2-1.{identifier}",
        open_id=creator.open_id,
        username=creator.username,
        title=title,
        privacy_level=privacy_level,
        options=options,
        size=size,
        chunk_size=chunk_size,
        chunk_count=chunk_count,
        upload_id=identifier,
        upload_token=secrets.token_urlsafe(24),
        upload_expires_at=now() + simulator.settings.upload_url_seconds,
        created_at=now(),
    )
    simulator.ledger.add(publication)
    return ok(
        {
            "publish_id": publication.publish_id,
            "upload_url": f"{base_url(simulator, request)}{UPLOAD}"
            f"?upload_id={publication.upload_id}&upload_token={publication.upload_token}",
        }
    )


@router.post(STATUS_FETCH)
async def status_fetch(request: Request, simulator: State) -> JSONResponse:
    """Return the state of one of the creator's publications."""
    _, creator = authorized(simulator, request, ("video.upload", "video.publish"), quotas.STATUS)
    body = await json_object(request)
    publish_id = body.get("publish_id")
    publication = simulator.ledger.get(publish_id) if isinstance(publish_id, str) else None
    if publication is None:
        raise ApiError("invalid_publish_id", "The publish_id does not exist.")
    if publication.open_id != creator.open_id:
        raise ApiError(
            "token_not_authorized_for_specified_publish_id",
            "The access token is not authorized for the specified publish_id.",
        )
    data: dict[str, Any] = {"status": publication.status, "uploaded_bytes": publication.received}
    if publication.fail_reason is not None:
        data["fail_reason"] = publication.fail_reason
    if publication.status == "PUBLISH_COMPLETE":
        data["publicaly_available_post_id"] = _visible_post_ids(simulator, publication)
    return ok(data)


def _visible_post_ids(simulator: Simulator, publication: Publication) -> list[int] | list[str]:
    visible = publication.public_at is not None and publication.public_at <= now()
    if not visible or publication.post_id is None:
        return []
    return [publication.post_id] if simulator.settings.ids_as_strings else [int(publication.post_id)]


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise ApiError("invalid_params", f"The {name} is required and must be an object.")
    return value


def _refuse_other_sources(source_info: dict[str, Any]) -> None:
    source = source_info.get("source")
    if source == "PULL_FROM_URL":
        raise ApiError("url_ownership_unverified", "The URL is not under a verified property; this simulator has none.")
    if source != "FILE_UPLOAD":
        raise ApiError("invalid_params", "The source must be FILE_UPLOAD or PULL_FROM_URL.")


def _privacy_options(simulator: Simulator, creator: Creator) -> tuple[str, ...]:
    if simulator.settings.unaudited:
        return ("SELF_ONLY",)
    return PRIVATE_OPTIONS if creator.persona is Persona.PRIVATE else PUBLIC_OPTIONS


def _refuse_capped(simulator: Simulator, creator: Creator) -> None:
    cap = simulator.settings.daily_posts
    if creator.persona is Persona.CAPPED or (cap and simulator.ledger.posts_today(creator.open_id) >= cap):
        raise ApiError(
            "spam_risk_too_many_posts",
            "The daily post cap from the API is reached for the current user.",
        )


def _refuse_unaudited(simulator: Simulator, creator: Creator, privacy_level: str) -> None:
    if simulator.settings.unaudited and (creator.persona is not Persona.PRIVATE or privacy_level != "SELF_ONLY"):
        raise ApiError(
            "unaudited_client_can_only_post_to_private_accounts",
            "Unaudited clients can only post to a private account.",
        )
