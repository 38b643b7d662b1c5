"""JSON answers rendered by orjson."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from starlette.responses import Response

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON_TYPE
) -> Response:
    """Return a response with `content` as JSON; datetimes become RFC 3339 with `Z`, UUIDs strings."""
    body = orjson.dumps(content, default=_plain, option=orjson.OPT_UTC_Z)
    return Response(body, status_code=status, headers=dict(headers) if headers else None, media_type=media_type)


def _plain(value: object) -> str:
    """Return what orjson does not know itself: asyncpg's UUIDs are of a class of its own."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
