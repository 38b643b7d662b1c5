"""A connection that the application can really close: without an answer, as a broken network does."""

from typing import Any

from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_ABORT = "tiktok_simulator.abort"


class AbortableProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol that hands the application a way to close its connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner: Any = self.app

        async def with_abort(scope: Any, receive: Any, send: Any) -> None:
            scope[_ABORT] = self.abort
            await inner(scope, receive, send)

        app: Any = with_abort
        self.app = app

    def abort(self) -> None:
        """Close the TCP connection at once."""
        self.transport.abort()


async def abort(scope: Scope, receive: Receive) -> None:
    """Close the request's connection and return when it is closed; nothing can be answered after that.

    Raises KeyError on a server that does not use AbortableProtocol.
    """
    scope[_ABORT]()
    while (await receive())["type"] != "http.disconnect":
        continue
