"""The aiohttp transport for httpx, with honest names for what went wrong.

httpx-aiohttp 0.2 calls every connection failure ConnectTimeout: refused connections, and connections cut after the request was
sent. Whoever repeats a call must tell these apart, since after a cut the other side may have acted.
"""

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

KEEPALIVE_SECONDS = 30.0
"""Less than our servers keep a connection, so that no request meets one about to be closed."""


class HonestTransport(AiohttpTransport):
    """Raises httpx.ConnectError only when nothing was sent, httpx.ReadError when the connection was lost later.

    At most `max_connections` at once; no cookies, no proxies from the environment.
    """

    def __init__(self, *, max_connections: int) -> None:
        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=KEEPALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )

        super().__init__(verify=False, client=session)  # the connector verifies certificates; this avoids a second context

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; raises httpx errors as the class says."""
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectTimeout as error:
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError):
                raise httpx.ConnectError(str(cause), request=request) from cause
            if isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, aiohttp.ServerTimeoutError):
                raise httpx.ReadError(f"connection lost: {type(cause).__name__}", request=request) from cause
            raise
