"""Display API: a creator's public videos, listed and by id."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import ApiError, ok
from tiktok_simulator.clock import now
from tiktok_simulator.display import avatar_url, base_url
from tiktok_simulator.ledger import Publication
from tiktok_simulator.personas import Creator
from tiktok_simulator.requests import authorized, json_object
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]

VIDEO_LIST = "/v2/video/list/"
VIDEO_QUERY = "/v2/video/query/"
MAX_COUNT = 20
DEFAULT_COUNT = 10
_TEXT_MAX = 150
FIELDS = (
    "id",
    "create_time",
    "cover_image_url",
    "share_url",
    "video_description",
    "title",
    "duration",
    "height",
    "width",
    "embed_html",
    "embed_link",
    "like_count",
    "comment_count",
    "share_count",
    "view_count",
    "is_aigc",
)


@router.post(VIDEO_LIST)
async def video_list(request: Request, simulator: State) -> JSONResponse:
    """Return a page of public videos, newest first, posted before ``cursor`` (Unix milliseconds)."""
    _, creator = authorized(simulator, request, ("video.list",), quotas.VIDEO_LIST)
    fields, body = _fields(request), await json_object(request)
    count = _integer(body, "max_count", DEFAULT_COUNT)
    cursor = _integer(body, "cursor", None)
    if count is None or not 1 <= count <= MAX_COUNT:
        raise ApiError("invalid_params", f"The max_count must be between 1 and {MAX_COUNT}.")
    before = [video for video in _public(simulator, creator) if cursor is None or _milliseconds(video) < cursor]
    page = before[:count]
    videos = [_shown(simulator, request, creator, video, fields) for video in page]
    last = _milliseconds(page[-1]) if page else (cursor or 0)
    return ok({"videos": videos, "cursor": last, "has_more": len(before) > count})


@router.post(VIDEO_QUERY)
async def video_query(request: Request, simulator: State) -> JSONResponse:
    """Return the videos with the given ids that are the creator's own and public; others are left out."""
    _, creator = authorized(simulator, request, ("video.list",), quotas.VIDEO_QUERY)
    fields, body = _fields(request), await json_object(request)
    filters = body.get("filters")
    ids = filters.get("video_ids") if isinstance(filters, dict) else None
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_COUNT or not all(isinstance(one, str) for one in ids):
        raise ApiError("invalid_params", f"The filters.video_ids must be a list of 1 to {MAX_COUNT} strings.")
    wanted = [video for video in _public(simulator, creator) if video.post_id in ids]
    return ok({"videos": [_shown(simulator, request, creator, video, fields) for video in wanted]})


def _fields(request: Request) -> list[str]:
    fields = [field for field in request.query_params.get("fields", "").split(",") if field]
    if not fields:
        raise ApiError("invalid_params", "The fields parameter is required.")
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise ApiError("invalid_params", f"Fields {unknown[:10]} are not valid.")
    return fields


def _integer(body: dict[str, Any], name: str, default: int | None) -> int | None:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise ApiError("invalid_params", f"The {name} must be an integer.")
    return value


def _public(simulator: Simulator, creator: Creator) -> list[Publication]:
    """Return what anyone can see of the creator, newest first; a hidden post id does not hide the video here."""
    at = now()
    own = [video for video in simulator.ledger.of_creator(creator.open_id) if video.post_id is not None]
    public = [video for video in own if video.privacy_level == "PUBLIC_TO_EVERYONE" and _seen_at(simulator, video) <= at]
    return sorted(public, key=_milliseconds, reverse=True)


def _seen_at(simulator: Simulator, video: Publication) -> float:
    published_at = video.published_at if video.published_at is not None else float("inf")
    return video.public_at if video.public_at is not None else published_at + simulator.settings.moderation_seconds


def _milliseconds(video: Publication) -> int:
    return int((video.published_at or 0) * 1000)


def _shown(simulator: Simulator, request: Request, creator: Creator, video: Publication, fields: list[str]) -> dict[str, Any]:
    share_url = f"https://www.tiktok.com/@{creator.username}/video/{video.post_id}"
    query = f"?utm_campaign=tt4d_open_api&utm_source={simulator.settings.client_key}"
    embed_link = f"https://www.tiktok.com/player/v1/{video.post_id}{query}"
    everything = {
        "id": video.post_id,
        "create_time": _milliseconds(video) // 1000,
        "cover_image_url": avatar_url(creator, base_url(simulator, request)),
        "share_url": share_url + query,
        "video_description": video.title[:_TEXT_MAX],
        "title": video.title[:_TEXT_MAX],
        "duration": 1,
        "height": 1024,
        "width": 576,
        "embed_html": f'<blockquote class="tiktok-embed" cite="{share_url}" data-video-id="{video.post_id}"></blockquote>',
        "embed_link": embed_link,
        "like_count": 0,
        "comment_count": 0,
        "share_count": 0,
        "view_count": 0,
        "is_aigc": bool(video.options.get("is_aigc", False)),
    }
    return {field: everything[field] for field in fields}
