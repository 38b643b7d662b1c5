"""Keyset paging: opaque cursors that stay stable while rows come and go."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from common.auth.keys import b64url_decode, b64url_encode
from common.clock import rfc3339
from common.contracts.moment import MAX_YEAR, MIN_YEAR
from common.errors import FieldError, Problem

TOTAL_CAP = 10_000
MAX_CURSOR_CHARS = 1024
CHECKSUM_BYTES = 6
MAX_INTEGER = 2**63 - 1

CursorValue = str | int | datetime | UUID
ItemT = TypeVar("ItemT")
RowT = TypeVar("RowT")


class Page(BaseModel, Generic[ItemT]):
    """One page of a list; `total` is exact up to 10,000 and `total_is_capped` beyond; `cursor` asks for the next page."""

    items: list[ItemT]
    total: int
    total_is_capped: bool = False
    cursor: str | None = None
    has_more: bool = False


def invalid_cursor() -> Problem:
    """Return 422 `invalid_cursor`."""
    detail = "The cursor is not one this list gave out."
    return Problem(
        422,
        "invalid_cursor",
        detail,
        hint="Leave the cursor out to begin with the first page.",
        errors=[FieldError("cursor", "invalid_cursor", detail)],
    )


def _checksum(payload: bytes, scope: str) -> bytes:
    return blake2b(
        payload, digest_size=CHECKSUM_BYTES, key=b"cuepost.cursor", person=blake2b(scope.encode(), digest_size=16).digest()
    ).digest()


def encode_cursor(values: Sequence[CursorValue], *, scope: str = "") -> str:
    """Return an opaque cursor of the sort key of a page's last row; `scope` names the list (and its filters) it is for."""
    plain = [rfc3339(v) if isinstance(v, datetime) else str(v) if isinstance(v, UUID) else v for v in values]
    payload = json.dumps(plain, separators=(",", ":")).encode()
    return b64url_encode(_checksum(payload, scope) + payload)


def decode_cursor(text: str, types: Sequence[type[CursorValue]], *, scope: str = "") -> list[Any]:
    """Return the values of a cursor, one of each given type in order.

    Raises Problem 422 `invalid_cursor` for one that was altered, made for another list (`scope`), or is no cursor at all. The
    checksum is no secret: a cursor gives no rights, queries filter by owner besides.
    """
    try:
        values = _checked_values(text, scope)
        return [_typed(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, RecursionError):
        raise invalid_cursor() from None


def _checked_values(text: str, scope: str) -> list[Any]:
    if len(text) > MAX_CURSOR_CHARS:
        raise ValueError("too long")
    data = b64url_decode(text)
    checksum, payload = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
    if checksum != _checksum(payload, scope):
        raise ValueError("checksum")
    values = json.loads(payload)
    if not isinstance(values, list):
        raise ValueError("shape")  # noqa: TRY004 - malformed data from outside, not a wrong call
    return values


def _typed(value: Any, kind: type[CursorValue]) -> CursorValue:
    if kind is int:
        if type(value) is not int or not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("not an integer")
        return int(value)
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("not text")
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("naive time")
        # Beyond these a conversion between zones overflows, here or in the database.
        if not MIN_YEAR <= moment.year <= MAX_YEAR:
            raise ValueError("time out of range")
        return moment
    return UUID(value) if kind is UUID else value


def page_limit(default: int, maximum: int) -> Any:
    """Return the query parameter of a list's size: a value outside 1..maximum is 422. Used as a parameter's default value."""
    return Query(default, ge=1, le=maximum, description=f"How many items, 1 to {maximum}.")


def page_cursor() -> Any:
    """Return the query parameter of the next page's cursor. Used as a parameter's default value."""
    return Query(None, max_length=MAX_CURSOR_CHARS, description="The `cursor` of the page before.")


def page_of(
    rows: Sequence[RowT],
    *,
    limit: int,
    total: int,
    item: Callable[[RowT], ItemT],
    key: Callable[[RowT], Sequence[CursorValue]],
    scope: str = "",
) -> Page[ItemT]:
    """Return a page of up to `limit + 1` fetched rows (one more than shown tells whether there are more).

    `total` is a count capped at 10,001 by the query.
    """
    shown = rows[:limit]
    has_more = len(rows) > limit
    return Page(
        items=[item(row) for row in shown],
        total=min(total, TOTAL_CAP),
        total_is_capped=total > TOTAL_CAP,
        cursor=encode_cursor(key(shown[-1]), scope=scope) if has_more and shown else None,
        has_more=has_more,
    )
