"""What publishes by its init alone is never sent over a connection that was kept open: TikTok may just have closed it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from common.ids import uuid7
from publisher.clients.accounts import Access
from publisher.clients.breakers import Breakers
from publisher.clients.http import tiktok_http_client, tiktok_once_client
from publisher.clients.tiktok import TikTok
from tiktok.models import PostInfo, PullSource
from tiktok.photos import PhotoPost

ACCOUNT = uuid7()
ACCESS = Access(access_token=SecretStr("t"), open_id="o", username="u", expires_at=datetime(2040, 1, 1, tzinfo=UTC))
SOURCE = PullSource("https://media.example/a.mp4")
PHOTO = PhotoPost(mode="DIRECT_POST", images=("https://media.example/a.jpg",), privacy_level="SELF_ONLY")
ANSWER = b'{"data": {"publish_id": "p1"}, "error": {"code": "ok", "message": "", "log_id": "l"}}'


class Edge:
    """Answers the first request of a connection and keeps it open; at the second it closes the connection instead."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._take(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
            await writer.drain()
            await self._take(reader)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        await reader.readexactly(int(length))


class Accounts:
    """Has the one token."""

    async def access(self, *_: Any, **__: Any) -> Access:
        return ACCESS


@asynccontextmanager
async def tiktok_behind(edge: Edge) -> AsyncIterator[TikTok]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(edge.serve, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        http, once = [await stack.enter_async_context(client) for client in (tiktok_http_client(), tiktok_once_client())]
        accounts: Any = Accounts()
        yield TikTok(http, once, url, accounts, Breakers(failures=9, open_seconds=1))


class Uncounted:
    """Nothing is counted here, and no lease held."""

    async def before(self) -> None:
        """Do nothing."""

    async def token_refused(self) -> None:
        """Do nothing."""


FREELY = Uncounted()


@pytest.mark.parametrize(
    "init",
    [
        lambda tiktok: tiktok.pull_video(ACCOUNT, ACCESS, PostInfo(privacy_level="SELF_ONLY"), SOURCE, FREELY),
        lambda tiktok: tiktok.pull_inbox(ACCOUNT, ACCESS, SOURCE, FREELY),
        lambda tiktok: tiktok.init_photo(ACCOUNT, ACCESS, PHOTO, FREELY),
    ],
    ids=["a pull", "a pulled draft", "photos"],
)
async def test_an_init_that_publishes_by_itself_has_a_connection_of_its_own(init: Callable[[TikTok], Awaitable[Any]]) -> None:
    edge = Edge()
    async with tiktok_behind(edge) as tiktok:
        # What else is sent leaves an idle connection behind.
        await tiktok.cancel(ACCOUNT, "p0", FREELY.before)
        assert [(await init(tiktok)).publish_id for _ in range(2)] == ["p1", "p1"]
    assert edge.connections == 3
