"""Display API: a creator's public videos, with their numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tiktok._http import Json, data_of, malformed, send

MAX_VIDEOS: Final = 20
"""TikTok's limit per page, and per query of ids."""


class Video(BaseModel):
    """One public video. ``id`` is a string whatever TikTok sent; ``create_time`` in Unix seconds, ``duration`` in seconds.

    What was not asked for, or TikTok left out, is None. ``cover_image_url`` is signed and lives 6 hours.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    create_time: int | None = None
    cover_image_url: str | None = Field(default=None, repr=False)
    share_url: str | None = None
    video_description: str | None = None
    title: str | None = None
    duration: int | None = None
    height: int | None = None
    width: int | None = None
    embed_html: str | None = Field(default=None, repr=False)
    embed_link: str | None = None
    like_count: int | None = None
    comment_count: int | None = None
    share_count: int | None = None
    view_count: int | None = None
    is_aigc: bool | None = None

    @field_validator("id", mode="before")
    @classmethod
    def _id_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


VIDEO_FIELDS: Final = tuple(Video.model_fields)
"""All fields there are; ``is_aigc`` is newer than the others."""


class VideoPage(BaseModel):
    """One page, newest first. It may hold fewer videos than asked for although ``has_more`` is true.

    ``cursor`` (Unix milliseconds) leads further into the past only; for new videos begin without one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    videos: tuple[Video, ...] = ()
    cursor: int | None = None
    has_more: bool = False

    @field_validator("videos", mode="before")
    @classmethod
    def _null_is_empty(cls, value: object) -> object:
        return () if value is None else value


class VideoClient:
    """Reads a creator's public videos with that creator's access token (scope ``video.list``)."""

    def __init__(self, http: httpx.AsyncClient, api_url: str) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")

    async def list_videos(
        self, token: SecretStr, *, cursor: int | None = None, max_count: int = MAX_VIDEOS, fields: Iterable[str] = VIDEO_FIELDS
    ) -> VideoPage:
        """Return the page of videos posted before ``cursor``, at most 20. Raises a TikTokError."""
        if not 1 <= max_count <= MAX_VIDEOS:
            raise ValueError(f"max_count is 1 to {MAX_VIDEOS}")
        body: Json = {"max_count": max_count}
        if cursor is not None:
            body["cursor"] = cursor
        return await self._page("/v2/video/list/", token, fields, body)

    async def query_videos(
        self, token: SecretStr, video_ids: Sequence[str], *, fields: Iterable[str] = VIDEO_FIELDS
    ) -> tuple[Video, ...]:
        """Return those of 1 to 20 videos that are the creator's and public; TikTok leaves out others. Raises a TikTokError."""
        if not 1 <= len(video_ids) <= MAX_VIDEOS:
            raise ValueError(f"1 to {MAX_VIDEOS} ids, not {len(video_ids)}")
        page = await self._page("/v2/video/query/", token, fields, {"filters": {"video_ids": list(video_ids)}})
        return page.videos

    async def _page(self, path: str, token: SecretStr, fields: Iterable[str], body: Json) -> VideoPage:
        # Without its id a video is of no use.
        asked = dict.fromkeys(("id", *fields))
        params = {"fields": ",".join(asked)}
        response = await send(self._http, "POST", self._api_url + path, token=token, params=params, body=body)
        data: dict[str, Any] = data_of(response)
        try:
            return VideoPage.model_validate(data)
        except ValidationError:
            raise malformed(response, "the videos") from None
