"""Display API: a creator's public videos, listed and by id."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import ApiError, ok
from tiktok_simulator.display import avatar_url, base_url
from tiktok_simulator.metrics import counters
from tiktok_simulator.paths import VIDEO_LIST, VIDEO_QUERY
from tiktok_simulator.personas import Creator
from tiktok_simulator.publications import EVERYONE, Post, Publication
from tiktok_simulator.requests import authorized, json_object
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]

MAX_COUNT = 20
DEFAULT_COUNT = 10
Video = tuple[Publication, Post]
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
    """Return a page of public videos, newest first, posted before ``cursor`` (Unix milliseconds), not always a full one."""
    _, creator = authorized(simulator, request, ("video.list",), quotas.VIDEO_LIST)
    fields, body = _fields(request), await json_object(request)
    count = _integer(body, "max_count", DEFAULT_COUNT)
    cursor = _integer(body, "cursor", None)
    if count is None or not 1 <= count <= MAX_COUNT:
        raise ApiError("invalid_params", f"The max_count must be between 1 and {MAX_COUNT}.")
    before = [video for video in _public(simulator, creator) if cursor is None or _milliseconds(video) < cursor]
    page = before[: min(count, simulator.settings.video_page_max)]
    videos = [_shown(simulator, request, creator, video, fields) for video in page]
    last = _milliseconds(page[-1]) if page else (cursor or 0)
    return ok({"videos": videos, "cursor": last, "has_more": len(before) > len(page)})


@router.post(VIDEO_QUERY)
async def video_query(request: Request, simulator: State) -> JSONResponse:
    """Return the videos with the given ids that are the creator's own and public; others are left out."""
    _, creator = authorized(simulator, request, ("video.list",), quotas.VIDEO_QUERY)
    fields, body = _fields(request), await json_object(request)
    filters = body.get("filters")
    ids = filters.get("video_ids") if isinstance(filters, dict) else None
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_COUNT or not all(isinstance(one, str) for one in ids):
        raise ApiError("invalid_params", f"The filters.video_ids must be a list of 1 to {MAX_COUNT} strings.")
    wanted = [video for video in _public(simulator, creator) if video[1].post_id in ids]
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


def _public(simulator: Simulator, creator: Creator) -> list[Video]:
    """Return what anyone can see of the creator, newest first; a hidden post id does not hide the video here."""
    at = simulator.clock.now()
    kinds = {"video", "photo"} if simulator.settings.photos_in_video_list else {"video"}
    own = simulator.ledger.of_creator(creator.open_id)
    posts = [(item, post) for item in own if item.media_type in kinds for post in item.posts]
    public = [video for video in posts if video[1].privacy_level == EVERYONE and not video[1].deleted]
    return sorted((video for video in public if video[1].seen_at <= at), key=_milliseconds, reverse=True)


def _milliseconds(video: Video) -> int:
    return int(video[1].published_at * 1000)


def _shown(simulator: Simulator, request: Request, creator: Creator, video: Video, fields: list[str]) -> dict[str, Any]:
    publication, post = video
    share_url = f"https://www.tiktok.com/@{creator.username}/{publication.media_type}/{post.post_id}"
    query = f"?utm_campaign=tt4d_open_api&utm_source={simulator.settings.client_key}"
    age = simulator.clock.now() - post.seen_at
    everything = {
        "id": post.post_id,
        "create_time": _milliseconds(video) // 1000,
        "cover_image_url": avatar_url(creator, base_url(simulator, request)),
        "share_url": share_url + query,
        "video_description": (publication.description or post.title)[:_TEXT_MAX],
        "title": post.title[:_TEXT_MAX],
        "duration": publication.duration,
        "height": publication.height,
        "width": publication.width,
        "embed_html": f'<blockquote class="tiktok-embed" cite="{share_url}" data-video-id="{post.post_id}"></blockquote>',
        "embed_link": f"https://www.tiktok.com/player/v1/{post.post_id}{query}",
        "is_aigc": bool(publication.options.get("is_aigc", False)),
        **counters(post.post_id, age, simulator.settings.views_half_life_seconds),
    }
    return {field: everything[field] for field in fields}
