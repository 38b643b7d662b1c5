"""Drives a simulator by bare HTTP, as an app and a test would: connect, post, upload, look, order faults."""

import asyncio
import hashlib
import math
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

ALL_SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list,video.upload,video.publish"
REDIRECT_URI = "http://127.0.0.1:8400/api/v1/tiktok/callback"
_POLL_SECONDS = 0.02


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Return once ``condition`` is true. Raises TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):
        for _ in range(math.ceil(seconds / _POLL_SECONDS)):
            if await condition():
                return
            await asyncio.sleep(_POLL_SECONDS)
    raise TimeoutError


class Driver:
    """Speaks to the simulator at ``base_url`` with the default app. Answers come as they are; nothing is repeated."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        *,
        client_key: str = "simulator-client-key",
        client_secret: str = "simulator-client-secret",  # noqa: S107 - the simulator's default
    ) -> None:
        self.http = http
        self.base_url = base_url.rstrip("/")
        self._app = {"client_key": client_key, "client_secret": client_secret}
        self.verifier = secrets.token_urlsafe(48)

    def authorize_query(self, **changes: str | None) -> dict[str, str]:
        """Return a right authorize query with changes; None leaves a parameter out."""
        query: dict[str, str | None] = {
            "client_key": self._app["client_key"],
            "response_type": "code",
            "scope": ALL_SCOPES,
            "redirect_uri": REDIRECT_URI,
            "state": "a-state",
            "code_challenge": hashlib.sha256(self.verifier.encode()).hexdigest(),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in query.items() if value is not None}

    async def authorize(self, **changes: str | None) -> httpx.Response:
        """Open the authorize page."""
        return await self.http.get(
            f"{self.base_url}/v2/auth/authorize/?{urlencode(self.authorize_query(**changes))}",
            follow_redirects=False,
        )

    async def code(self, username: str = "demo_public", **changes: str | None) -> str:
        """Let a creator approve and return the code of the callback."""
        answer = await self.authorize(simulator_creator=username, **changes)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def token(self, **fields: str | None) -> httpx.Response:
        """Post to the token endpoint; None leaves a field out."""
        form = {name: value for name, value in {**self._app, **fields}.items() if value is not None}
        return await self.http.post(f"{self.base_url}/v2/oauth/token/", data=form)

    async def exchange(self, code: str, /, **changes: str | None) -> httpx.Response:
        """Exchange a code."""
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": self.verifier,
        }
        return await self.token(**{**fields, **changes})

    async def refresh(self, refresh_token: str) -> httpx.Response:
        """Rotate a refresh token."""
        return await self.token(grant_type="refresh_token", refresh_token=refresh_token)

    async def revoke(self, access_token: str) -> httpx.Response:
        """Revoke."""
        form = {**self._app, "token": access_token}
        return await self.http.post(f"{self.base_url}/v2/oauth/revoke/", data=form)

    async def connect(self, username: str = "demo_public", scope: str = ALL_SCOPES) -> dict[str, Any]:
        """Connect a creator and return the token endpoint's answer."""
        answer = await self.exchange(await self.code(username, scope=scope))
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def call(self, path: str, token: str, body: Any = None) -> httpx.Response:
        """Post JSON to an API path."""
        return await self.http.post(f"{self.base_url}{path}", json=body or {}, headers={"Authorization": f"Bearer {token}"})

    async def init(self, token: str, size: int, title: str = "a title", **changes: Any) -> httpx.Response:
        """Start a direct post by upload; ``changes`` go into ``post_info``."""
        single = size <= 64_000_000
        source = {
            "source": "FILE_UPLOAD",
            "video_size": size,
            "chunk_size": size if single else 10_000_000,
            "total_chunk_count": 1 if single else size // 10_000_000,
        }
        post_info = {"privacy_level": "SELF_ONLY", "title": title, **changes}
        return await self.call("/v2/post/publish/video/init/", token, {"post_info": post_info, "source_info": source})

    async def pull(self, token: str, url: str, title: str = "a title", **changes: Any) -> httpx.Response:
        """Start a direct post that TikTok fetches; ``changes`` go into ``post_info``."""
        body = {
            "post_info": {"privacy_level": "SELF_ONLY", "title": title, **changes},
            "source_info": {"source": "PULL_FROM_URL", "video_url": url},
        }
        return await self.call("/v2/post/publish/video/init/", token, body)

    async def draft(self, token: str, source: int | str) -> httpx.Response:
        """Start a draft: of so many bytes (up to 64 MB) to upload, or of what TikTok fetches at an address."""
        upload = {"source": "FILE_UPLOAD", "video_size": source, "chunk_size": source, "total_chunk_count": 1}
        pull = {"source": "PULL_FROM_URL", "video_url": source}
        body = {"source_info": upload if isinstance(source, int) else pull}
        return await self.call("/v2/post/publish/inbox/video/init/", token, body)

    async def photos(self, token: str, urls: list[str], *, mode: str = "DIRECT_POST", **changes: Any) -> httpx.Response:
        """Start a post, or with ``MEDIA_UPLOAD`` a draft, of photos; ``changes`` go into ``post_info``."""
        info = {"title": "a title", **({"privacy_level": "SELF_ONLY"} if mode == "DIRECT_POST" else {}), **changes}
        body = {
            "media_type": "PHOTO",
            "post_mode": mode,
            "post_info": info,
            "source_info": {"source": "PULL_FROM_URL", "photo_images": urls, "photo_cover_index": 0},
        }
        return await self.call("/v2/post/publish/content/init/", token, body)

    async def cancel(self, token: str, publish_id: str) -> httpx.Response:
        """Ask to give up a fetch."""
        return await self.call("/v2/post/publish/cancel/", token, {"publish_id": publish_id})

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call the admin API below ``/_simulator/`` and return its JSON, None without one. Raises for refusals."""
        answer = await self.http.request(method, f"{self.base_url}/_simulator/{path}", json=body)
        return answer.raise_for_status().json() if answer.content else None

    async def advance(self, seconds: float) -> None:
        """Put the simulator's clock forward."""
        await self.admin("POST", "clock", {"seconds": seconds})

    async def put(self, upload_url: str, first: int, total: int, data: bytes, **headers: str) -> httpx.Response:
        """Send ``data`` as the chunk that begins at ``first``; ``headers`` (with _ for -) replace the right ones."""
        right = {
            "content-type": "video/mp4",
            "content-range": f"bytes {first}-{first + len(data) - 1}/{total}",
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {name: value for name, value in {**right, **given}.items() if value}
        return await self.http.put(upload_url, content=data, headers=merged)

    async def upload(self, token: str, data: bytes, title: str = "a title", **changes: Any) -> str:
        """Start a post, send all bytes in one chunk and return the publish_id."""
        started = (await self.init(token, len(data), title, **changes)).json()["data"]
        (await self.put(started["upload_url"], 0, len(data), data)).raise_for_status()
        publish_id: str = started["publish_id"]
        return publish_id

    async def status(self, token: str, publish_id: str) -> httpx.Response:
        """Fetch the status of a publication."""
        return await self.call("/v2/post/publish/status/fetch/", token, {"publish_id": publish_id})

    async def ledger(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the ledger's items, those that equal ``wanted`` (publish_id, open_id, title)."""
        answer = await self.http.get(f"{self.base_url}/_simulator/ledger", params=wanted)
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return items

    async def finished(self, publish_id: str, seconds: float = 10.0) -> dict[str, Any]:
        """Return the publication's ledger item once it has ended, or lies in the inbox. Raises TimeoutError."""

        async def ended() -> bool:
            (item,) = await self.ledger(publish_id=publish_id)
            return item["status"] in {"PUBLISH_COMPLETE", "FAILED", "SEND_TO_USER_INBOX"}

        await eventually(ended, seconds)
        return (await self.ledger(publish_id=publish_id))[0]

    async def fault(self, endpoint: str, **order: Any) -> None:
        """Order a fault."""
        answer = await self.http.post(f"{self.base_url}/_simulator/faults", json={"endpoint": endpoint, **order})
        answer.raise_for_status()

    async def faults(self) -> list[dict[str, Any]]:
        """Return the orders that are left."""
        items: list[dict[str, Any]] = (await self.http.get(f"{self.base_url}/_simulator/faults")).json()["items"]
        return items

    async def stats(self) -> dict[str, Any]:
        """Return the statistics."""
        stats: dict[str, Any] = (await self.http.get(f"{self.base_url}/_simulator/stats")).json()
        return stats
