"""JSON answers rendered by orjson."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = JSON_TYPE
) -> Response:
    """Return a response with `content` as JSON; datetimes become RFC 3339 with `Z`, UUIDs strings."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, status_code=status, headers=dict(headers) if headers else None, media_type=media_type)
