"""Starting posts: direct videos, drafts of videos, photos in both modes."""

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import ApiError, ok
from tiktok_simulator.caps import privacy_options, refuse_direct, refuse_draft, refuse_unaudited
from tiktok_simulator.display import base_url
from tiktok_simulator.init_rules import (
    PHOTO_DESCRIPTION_UNITS,
    PHOTO_TITLE_UNITS,
    PHOTO_TOGGLES,
    TITLE_UNITS,
    check_chunks,
    check_options,
    check_photos,
    check_privacy,
    check_text,
    check_toggles,
)
from tiktok_simulator.paths import CONTENT_INIT, INBOX_INIT, UPLOAD, VIDEO_INIT
from tiktok_simulator.personas import Creator
from tiktok_simulator.publications import FILE_UPLOAD, PROCESSING_DOWNLOAD, PULL_FROM_URL, Publication
from tiktok_simulator.requests import authorized, json_object, require_scope
from tiktok_simulator.state import Simulator, simulator_of
from tiktok_simulator.url_rules import check_url

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]


@router.post(VIDEO_INIT)
async def video_init(request: Request, simulator: State) -> JSONResponse:
    """Start a direct post, by upload or by TikTok's own fetching."""
    _, creator = authorized(simulator, request, ("video.publish",), quotas.INIT)
    body = await json_object(request)
    post_info, source_info = _object(body, "post_info"), _object(body, "source_info")
    title, options = check_text(post_info, "title", TITLE_UNITS), check_options(post_info)
    source = _video_source(simulator, source_info)
    refuse_direct(simulator, creator)
    privacy_level = _privacy(simulator, creator, post_info, options)
    fields = {**source, "title": title, "options": options, "privacy_level": privacy_level}
    return _begin(simulator, request, creator, "direct", fields)


@router.post(INBOX_INIT)
async def inbox_init(request: Request, simulator: State) -> JSONResponse:
    """Start a draft of a video; a ``post_info`` is not looked at, the creator sets all of it in the app."""
    _, creator = authorized(simulator, request, ("video.upload",), quotas.INBOX_INIT)
    source = _video_source(simulator, _object(await json_object(request), "source_info"))
    refuse_draft(simulator, creator)
    return _begin(simulator, request, creator, "inbox", source)


@router.post(CONTENT_INIT)
async def content_init(request: Request, simulator: State) -> JSONResponse:
    """Start a photo post, or a draft of one."""
    token, creator = authorized(simulator, request, ("video.publish", "video.upload"), quotas.CONTENT_INIT)
    body = await json_object(request)
    if body.get("media_type") != "PHOTO" or body.get("post_mode") not in ("DIRECT_POST", "MEDIA_UPLOAD"):
        raise ApiError("invalid_params", "The media_type must be PHOTO, the post_mode DIRECT_POST or MEDIA_UPLOAD.")
    direct = body["post_mode"] == "DIRECT_POST"
    require_scope(token, "video.publish" if direct else "video.upload")
    post_info, source_info = _object(body, "post_info"), _object(body, "source_info")
    options = {**check_toggles(body, ("is_aigc",)), **(check_toggles(post_info, PHOTO_TOGGLES) if direct else {})}
    images, cover = check_photos(source_info)
    fields: dict[str, Any] = {
        "media_type": "photo",
        "source": PULL_FROM_URL,
        "title": check_text(post_info, "title", PHOTO_TITLE_UNITS),
        "description": check_text(post_info, "description", PHOTO_DESCRIPTION_UNITS),
        "urls": [check_url(image, simulator.settings) for image in images],
        "options": {**options, "photo_cover_index": cover},
    }
    if direct:
        refuse_direct(simulator, creator)
        fields["privacy_level"] = _privacy(simulator, creator, post_info, options)
        return _begin(simulator, request, creator, "direct", fields)
    if creator.outdated_app:
        raise ApiError("app_version_check_failed", "The user's TikTok app must be of version 31.8 or later.")
    refuse_draft(simulator, creator)
    return _begin(simulator, request, creator, "inbox", fields)


def _begin(
    simulator: Simulator, request: Request, creator: Creator, mode: Literal["direct", "inbox"], fields: dict[str, Any]
) -> JSONResponse:
    """Enter the init in the ledger, begin to fetch if TikTok is to, and answer."""
    identifier, at = simulator.ledger.fresh_id(), simulator.clock.now()
    publication = Publication(
        publish_id=_prefix(mode, fields) + identifier,
        open_id=creator.open_id,
        username=creator.username,
        mode=mode,
        upload_id=identifier,
        created_at=at,
        **fields,
    )
    data = {"publish_id": publication.publish_id}
    if publication.source == FILE_UPLOAD:
        publication.upload_token = secrets.token_urlsafe(24)
        publication.upload_expires_at = at + simulator.settings.upload_url_seconds
        query = f"?upload_id={publication.upload_id}&upload_token={publication.upload_token}"
        data["upload_url"] = f"{base_url(simulator, request)}{UPLOAD}{query}"
        simulator.ledger.add(publication)
        return ok(data)
    publication.status = PROCESSING_DOWNLOAD
    fault = simulator.downloads.plan(publication)
    simulator.ledger.add(publication)
    simulator.downloads.start(publication, fault)
    return ok(data)


def _prefix(mode: str, fields: dict[str, Any]) -> str:
    if fields.get("media_type") == "photo":
        return "p_pub_url~v2."
    where = "file" if fields["source"] == FILE_UPLOAD else "url"
    return f"v_pub_{where}~v2-1." if mode == "direct" else f"v_inbox_{where}~v2."


def _video_source(simulator: Simulator, source_info: dict[str, Any]) -> dict[str, Any]:
    source = source_info.get("source")
    if source == PULL_FROM_URL:
        return {"source": source, "urls": [check_url(source_info.get("video_url"), simulator.settings)]}
    if source != FILE_UPLOAD:
        raise ApiError("invalid_params", "The source must be FILE_UPLOAD or PULL_FROM_URL.")
    size, chunk_size, chunk_count = check_chunks(source_info, simulator.settings.megabyte_bytes)
    return {"source": source, "size": size, "chunk_size": chunk_size, "chunk_count": chunk_count}


def _privacy(simulator: Simulator, creator: Creator, post_info: dict[str, Any], options: dict[str, Any]) -> str:
    refuse_unaudited(simulator, creator, post_info.get("privacy_level"))
    level = check_privacy(post_info, privacy_options(simulator, creator))
    if simulator.settings.refuse_branded_self_only and options.get("brand_content_toggle") and level == "SELF_ONLY":
        raise ApiError("invalid_params", "Branded content cannot be private.")
    return level


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise ApiError("invalid_params", f"The {name} is required and must be an object.")
    return value
