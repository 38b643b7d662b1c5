"""Display API: who a connected account is."""

from collections.abc import Iterable
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from tiktok._http import data_of, malformed, send

USER_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "user.info.basic": (
        "open_id",
        "union_id",
        "avatar_url",
        "avatar_url_100",
        "avatar_large_url",
        "display_name",
    ),
    "user.info.profile": (
        "username",
        "bio_description",
        "profile_deep_link",
        "profile_web_link",
        "is_verified",
    ),
    "user.info.stats": ("follower_count", "following_count", "likes_count", "video_count"),
}
"""The fields each scope opens; asking for others may be refused."""


class UserInfo(BaseModel):
    """A TikTok user as far as the granted scopes show it; what they do not show is None."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    open_id: str
    union_id: str | None = None
    avatar_url: str | None = None
    avatar_url_100: str | None = None
    avatar_large_url: str | None = None
    display_name: str | None = None
    username: str | None = None
    bio_description: str | None = None
    profile_deep_link: str | None = None
    profile_web_link: str | None = None
    is_verified: bool | None = None
    follower_count: int | None = None
    following_count: int | None = None
    likes_count: int | None = None
    video_count: int | None = None


def user_fields(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the user fields that the scopes cover, in TikTok's order."""
    granted = set(scopes)
    return tuple(field for scope, fields in USER_FIELDS.items() if scope in granted for field in fields)


class UserClient:
    """Reads a user's own data with that user's access token."""

    def __init__(self, http: httpx.AsyncClient, api_url: str) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")

    async def user_info(self, token: SecretStr, scopes: Iterable[str]) -> UserInfo:
        """Return what the granted ``scopes`` show of the token's user. Raises a TikTokError."""
        response = await send(
            self._http,
            "GET",
            f"{self._api_url}/v2/user/info/",
            token=token,
            params={"fields": ",".join(user_fields(scopes) or ("open_id",))},
        )
        try:
            return UserInfo.model_validate(data_of(response).get("user"))
        except ValidationError:
            raise malformed(response, "the user") from None
