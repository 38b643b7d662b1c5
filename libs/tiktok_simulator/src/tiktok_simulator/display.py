"""Display API: user info."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from tiktok_simulator import quotas
from tiktok_simulator.answers import ApiError, ok
from tiktok_simulator.paths import USER_INFO
from tiktok_simulator.personas import Creator
from tiktok_simulator.requests import authorized, require_scope
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()

SCOPE_OF_FIELD = {
    **dict.fromkeys(
        ("open_id", "union_id", "avatar_url", "avatar_url_100", "avatar_large_url", "display_name"),
        "user.info.basic",
    ),
    **dict.fromkeys(
        ("bio_description", "profile_deep_link", "profile_web_link", "username", "is_verified"),
        "user.info.profile",
    ),
    **dict.fromkeys(("follower_count", "following_count", "likes_count", "video_count"), "user.info.stats"),
}


@router.get(USER_INFO)
async def user_info(request: Request, simulator: Annotated[Simulator, Depends(simulator_of)]) -> JSONResponse:
    """Return the requested fields, each only within its scope."""
    token, creator = authorized(simulator, request, ("user.info.basic",), quotas.USER_INFO)
    fields = [field for field in request.query_params.get("fields", "").split(",") if field]
    if not fields:
        raise ApiError("invalid_params", "The fields parameter is required.")
    unknown = [field for field in fields if field not in SCOPE_OF_FIELD]
    if unknown:
        raise ApiError("invalid_params", f"Fields {unknown[:10]} are not valid.")
    within = [field for field in fields if SCOPE_OF_FIELD[field] in token.scopes]
    if simulator.settings.out_of_scope_fields == "refuse":
        for field in fields:
            require_scope(token, SCOPE_OF_FIELD[field])
    everything = _fields_of(creator, base_url(simulator, request))
    return ok({"user": {field: everything[field] for field in within}})


def base_url(simulator: Simulator, request: Request) -> str:
    """Return the address under which the caller reaches the simulator, without a slash at the end."""
    return (simulator.settings.public_url or str(request.base_url)).rstrip("/")


def avatar_url(creator: Creator, base: str) -> str:
    """Return the address of the creator's picture."""
    return f"{base}/_simulator/avatars/{creator.username}.svg"


def _fields_of(creator: Creator, base: str) -> dict[str, Any]:
    avatar = avatar_url(creator, base)
    return {
        "open_id": creator.open_id,
        "union_id": creator.union_id,
        "avatar_url": avatar,
        "avatar_url_100": avatar,
        "avatar_large_url": avatar,
        "display_name": creator.display_name,
        "bio_description": f"A simulated {creator.persona} account.",
        "profile_deep_link": f"{base}/@{creator.username}?deep=1",
        "profile_web_link": f"{base}/@{creator.username}",
        "username": creator.username,
        "is_verified": False,
        "follower_count": creator.follower_count,
        "following_count": creator.following_count,
        "likes_count": creator.likes_count,
        "video_count": creator.video_count,
    }
