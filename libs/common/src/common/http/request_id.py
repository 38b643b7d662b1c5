"""The id of a request: the client's own `X-Request-ID` when it is well-formed, else a new one."""

import re

from starlette.requests import HTTPConnection
from starlette.types import Scope

from common.ids import uuid7

HEADER = "X-Request-ID"
RAW_HEADER = b"x-request-id"
SCOPE_KEY = "cuepost.request_id"
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def choose_request_id(scope: Scope) -> str:
    """Return the client's id (1 to 128 of `[A-Za-z0-9._-]`) or a new UUIDv7."""
    for name, value in scope["headers"]:
        if name == RAW_HEADER:
            return value.decode("ascii") if _ACCEPTED.fullmatch(value) else str(uuid7())
    return str(uuid7())


def request_id_of(connection: HTTPConnection) -> str:
    """Return the id the middleware chose for this request."""
    request_id: str = connection.scope.get(SCOPE_KEY) or ""
    return request_id
