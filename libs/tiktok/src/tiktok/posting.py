"""Content Posting API: what a creator may post, starting a direct post, and following it."""

from typing import Any

import httpx
from pydantic import SecretStr, ValidationError

from tiktok._http import Json, data_of, malformed, send, text
from tiktok.models import CreatorInfo, FileSource, PostInfo, PublishStatus, VideoInit


class PostingClient:
    """Calls the posting endpoints with a creator's access token.

    Every method raises a TikTokError and is sent exactly once; nothing is repeated in here. An init that raises
    TikTokUnavailable with ``sent`` true may exist at TikTok.
    """

    def __init__(self, http: httpx.AsyncClient, api_url: str) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")

    async def creator_info(self, token: SecretStr) -> CreatorInfo:
        """Return what the creator may post now; "cannot post now" is a TikTokRefused (TikTok sends it with HTTP 200)."""
        response = await self._post("/v2/post/publish/creator_info/query/", token, {})
        try:
            return CreatorInfo.model_validate(data_of(response))
        except ValidationError:
            raise malformed(response, "the creator's options") from None

    async def init_video(self, token: SecretStr, post_info: PostInfo, source_info: FileSource) -> VideoInit:
        """Start a direct post by upload. Nothing is published before the last byte has arrived."""
        body = {"post_info": post_info.to_json(), "source_info": source_info.to_json()}
        response = await self._post("/v2/post/publish/video/init/", token, body)
        data = data_of(response)
        publish_id, upload_url = text(data.get("publish_id")), text(data.get("upload_url"))
        if publish_id is None or upload_url is None:
            raise malformed(response, "publish_id or upload_url")
        return VideoInit(publish_id, upload_url)

    async def status(self, token: SecretStr, publish_id: str) -> PublishStatus:
        """Return what TikTok says of a publication."""
        response = await self._post("/v2/post/publish/status/fetch/", token, {"publish_id": publish_id})
        try:
            return PublishStatus.model_validate(_without_nulls(data_of(response)))
        except ValidationError:
            raise malformed(response, "the status") from None

    async def _post(self, path: str, token: SecretStr, body: Json) -> httpx.Response:
        return await send(self._http, "POST", self._api_url + path, token=token, body=body)


def _without_nulls(data: Json) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
