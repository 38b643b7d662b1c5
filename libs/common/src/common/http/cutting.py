"""Cutting a connection whose client does not take what it is sent: closing alone waits until all is taken, however long."""

import asyncio
import socket
import struct
from contextlib import suppress

from starlette.types import Scope

EXTENSION = "cuepost.cut"
"""Where `common.http.capped_protocol` puts a request's connection, among the scope's `extensions`."""
_DROP_UNSENT = struct.pack("ii", 1, 0)
"""`SO_LINGER` of no seconds: what the system still holds for the client is dropped, too, and the client sees a reset."""


def cut(scope: Scope, *, after: float = 0.0) -> bool:
    """Let the request's connection end in so many seconds, whatever is left to send; one that has ended by then stays as it is.

    The answer has to be the connection's last (`Connection: close`). False when the server does not offer this.
    """
    offered = scope.get("extensions", {}).get(EXTENSION)
    if offered is None:
        return False
    asyncio.get_running_loop().call_later(after, abort, offered["transport"])
    return True


def abort(transport: asyncio.Transport) -> None:
    """End a connection at once, whatever is left to send."""
    # What is closed already has no socket to set anything of: OSError by asyncio, ValueError by uvloop.
    with suppress(OSError, ValueError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
    transport.abort()
