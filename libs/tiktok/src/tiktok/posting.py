"""Content Posting API: what a creator may post, starting posts and drafts, following and cancelling them."""

from typing import Any, Final

import httpx
from pydantic import SecretStr, ValidationError

from tiktok._http import Json, data_of, log_id_of, malformed, send, text
from tiktok.models import CreatorInfo, FileSource, PostInfo, PublishStatus, PullInit, PullSource, VideoInit
from tiktok.photos import PhotoPost

_VIDEO_INIT: Final = "/v2/post/publish/video/init/"
_INBOX_INIT: Final = "/v2/post/publish/inbox/video/init/"
_CONTENT_INIT: Final = "/v2/post/publish/content/init/"
_NO_BYTES: Final = {"source": "FILE_UPLOAD", "video_size": 0, "chunk_size": 0, "total_chunk_count": 0}


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
        return await self._upload(_VIDEO_INIT, token, body)

    async def init_video_pull(self, token: SecretStr, post_info: PostInfo, source_info: PullSource) -> PullInit:
        """Start a direct post that TikTok fetches. It is published by this call alone."""
        return await self._pull(_VIDEO_INIT, token, {"post_info": post_info.to_json(), "source_info": source_info.to_json()})

    async def init_inbox(self, token: SecretStr, source_info: FileSource) -> VideoInit:
        """Start a draft by upload; its creator sets caption and options in the app (scope ``video.upload``)."""
        return await self._upload(_INBOX_INIT, token, {"source_info": source_info.to_json()})

    async def init_inbox_pull(self, token: SecretStr, source_info: PullSource) -> PullInit:
        """Start a draft that TikTok fetches; it is delivered by this call alone."""
        return await self._pull(_INBOX_INIT, token, {"source_info": source_info.to_json()})

    async def init_photo(self, token: SecretStr, post: PhotoPost) -> PullInit:
        """Start a photo post, or a draft of one; it is published by this call alone."""
        return await self._pull(_CONTENT_INIT, token, post.to_json())

    async def try_video_init(self, token: SecretStr, post_info: PostInfo) -> None:
        """Ask for a direct post of no bytes: nothing can come of it, and TikTok refuses it (400) if it is there at all."""
        data_of(await self._post(_VIDEO_INIT, token, {"post_info": post_info.to_json(), "source_info": _NO_BYTES}))

    async def try_inbox_init(self, token: SecretStr) -> None:
        """Ask for a draft of no bytes, to the same end."""
        data_of(await self._post(_INBOX_INIT, token, {"source_info": _NO_BYTES}))

    async def try_photo_init(self, token: SecretStr, post: PhotoPost) -> None:
        """Ask for a post of no photos, to the same end."""
        body = post.to_json()
        data_of(await self._post(_CONTENT_INIT, token, {**body, "source_info": {**body["source_info"], "photo_images": []}}))

    async def cancel(self, token: SecretStr, publish_id: str) -> None:
        """Ask TikTok to give up a fetch that is under way; best effort, the status tells what became of it."""
        data_of(await self._post("/v2/post/publish/cancel/", token, {"publish_id": publish_id}))

    async def status(self, token: SecretStr, publish_id: str) -> PublishStatus:
        """Return what TikTok says of a publication."""
        response = await self._post("/v2/post/publish/status/fetch/", token, {"publish_id": publish_id})
        try:
            return PublishStatus.model_validate(_without_nulls(data_of(response)) | {"log_id": log_id_of(response)})
        except ValidationError:
            raise malformed(response, "the status") from None

    async def _upload(self, path: str, token: SecretStr, body: Json) -> VideoInit:
        response = await self._post(path, token, body)
        data = data_of(response)
        publish_id, upload_url = text(data.get("publish_id")), text(data.get("upload_url"))
        if publish_id is None or upload_url is None:
            raise malformed(response, "publish_id or upload_url")
        return VideoInit(publish_id, upload_url, log_id_of(response))

    async def _pull(self, path: str, token: SecretStr, body: Json) -> PullInit:
        response = await self._post(path, token, body)
        publish_id = text(data_of(response).get("publish_id"))
        if publish_id is None:
            raise malformed(response, "publish_id")
        return PullInit(publish_id, log_id_of(response))

    async def _post(self, path: str, token: SecretStr, body: Json) -> httpx.Response:
        return await send(self._http, "POST", self._api_url + path, token=token, body=body)


def _without_nulls(data: Json) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
