import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from tiktok._http import MAX_ANSWER_BYTES, data_of, may_have_been_sent, send
from tiktok.errors import TikTokRateLimited, TikTokUnavailable


class ClientConnectorError(Exception):
    pass


class ServerDisconnectedError(Exception):
    pass


for _kind in (ClientConnectorError, ServerDisconnectedError):
    _kind.__module__ = "aiohttp.client_exceptions"


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx.ConnectError(""), False),
        (httpx.ConnectTimeout(""), False),
        (httpx.PoolTimeout(""), False),
        (httpx.UnsupportedProtocol(""), False),
        (httpx.InvalidURL(""), False),
        (httpx.ReadTimeout(""), True),
        (httpx.WriteTimeout(""), True),
        (httpx.ReadError(""), True),
        (httpx.WriteError(""), True),
        (httpx.RemoteProtocolError(""), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ServerDisconnectedError(), True),
    ],
)
async def test_whether_it_may_have_been_sent(error: Exception, sent: bool) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        raise error

    http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    with pytest.raises(TikTokUnavailable) as caught:
        await send(http, "POST", "https://api.test/", token=SecretStr("canary"), body={})
    assert caught.value.sent is sent
    assert caught.value.code == ("no_answer" if sent else "unreachable")
    assert caught.value.retryable
    assert "canary" not in repr(caught.value)


def test_the_aiohttp_transport_calls_a_broken_connection_a_connect_timeout() -> None:
    broken = httpx.ConnectTimeout("Server disconnected")
    broken.__cause__ = ServerDisconnectedError()
    assert may_have_been_sent(broken)
    refused = httpx.ConnectError("refused")
    refused.__cause__ = ClientConnectorError()
    assert not may_have_been_sent(refused)
    plain = httpx.ConnectError("refused")
    plain.__cause__ = OSError()
    assert not may_have_been_sent(plain)


async def test_a_dripping_answer_ends() -> None:
    async def respond(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    with pytest.raises(TikTokUnavailable) as caught:
        await send(http, "GET", "https://api.test/", seconds=0.01)
    assert caught.value.sent


async def test_faults_of_the_program_are_not_taken_for_tiktoks() -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        raise KeyError("bug")

    http = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    with pytest.raises(KeyError):
        await send(http, "GET", "https://api.test/")


async def test_redirects_are_not_followed() -> None:
    http = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(302, headers={"location": "https://elsewhere/"})),
        follow_redirects=True,
    )
    assert (await send(http, "GET", "https://api.test/")).status_code == 302


async def test_a_port_nobody_listens_on() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(TikTokUnavailable) as caught:
            await send(http, "GET", "http://127.0.0.1:1/")
    assert not caught.value.sent


async def test_an_answer_without_end_is_not_read() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=endless())))
    with pytest.raises(TikTokUnavailable) as caught:
        await send(http, "GET", "https://api.test/")
    assert (caught.value.code, caught.value.sent) == ("malformed_answer", True)


async def test_packed_answers_are_read_and_bounded() -> None:
    def packed(content: bytes) -> httpx.AsyncClient:
        headers = {"content-encoding": "gzip", "x-kept": "1"}
        return httpx.AsyncClient(
            transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, content=gzip.compress(content)))
        )

    answer = await send(packed(b'{"data":{"a":1},"error":{"code":"ok"}}'), "GET", "https://api.test/")
    assert data_of(answer) == {"a": 1}
    assert answer.headers["x-kept"] == "1"
    with pytest.raises(TikTokUnavailable):
        await send(packed(bytes(MAX_ANSWER_BYTES + 1)), "GET", "https://api.test/")


async def test_odd_details_of_refusals_are_kept_within_reason() -> None:
    answer = httpx.Response(429, json={"error": {"code": "x" * 10_000}}, headers={"retry-after": "9" * 400})
    with pytest.raises(TikTokRateLimited) as caught:
        data_of(answer)
    assert len(caught.value.code) == 100
    assert caught.value.retry_after == 86_400
