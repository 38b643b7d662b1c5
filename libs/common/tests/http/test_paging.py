from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st

from common.auth.keys import b64url_decode, b64url_encode
from common.errors import Problem
from common.http.app import create_app
from common.http.paging import CursorValue, Page, decode_cursor, encode_cursor, page_cursor, page_limit, page_of
from common.ids import uuid7

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def assert_invalid(text: str, types: list[Any], scope: str = "") -> None:
    with pytest.raises(Problem) as caught:
        decode_cursor(text, types, scope=scope)
    assert (caught.value.status, caught.value.code) == (422, "invalid_cursor")


def test_a_cursor_round_trips() -> None:
    values: list[CursorValue] = [NOW, uuid7(), 5, "é😀"]
    assert decode_cursor(encode_cursor(values, scope="posts"), [datetime, UUID, int, str], scope="posts") == values


@given(
    st.lists(
        st.one_of(
            st.integers(-(2**63) + 1, 2**63 - 1),
            st.uuids(),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        )
    )
)
def test_whatever_is_encoded_is_decoded(values: list[Any]) -> None:
    text = encode_cursor(values)
    if len(text) <= 1024:
        assert decode_cursor(text, [type(value) for value in values]) == values


@given(st.text(max_size=2000))
def test_anything_else_is_refused(text: str) -> None:
    assert_invalid(text, [str])


@given(st.integers(0, 40), st.binary(min_size=1, max_size=3))
def test_altered_cursors_are_refused(position: int, replacement: bytes) -> None:
    data = b64url_decode(encode_cursor([NOW, 7], scope="posts"))
    altered = data[:position] + replacement + data[position + len(replacement) :]
    if altered != data:
        assert_invalid(b64url_encode(altered), [datetime, int], "posts")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_that_no_conversion_survives_are_refused(text: str) -> None:
    assert_invalid(encode_cursor([text]), [datetime])


def test_cursors_of_another_list_are_refused() -> None:
    assert_invalid(encode_cursor([1], scope="media"), [int], "posts")
    assert_invalid(encode_cursor([1, 2]), [int])
    assert_invalid(encode_cursor([]), [int])
    assert_invalid(encode_cursor(["x"]), [int])
    assert_invalid(encode_cursor([1]), [str])
    assert_invalid(encode_cursor(["x"]), [UUID])
    assert_invalid(encode_cursor(["x"]), [datetime])
    assert_invalid(encode_cursor(["2026-01-01T00:00:00"]), [datetime])
    assert_invalid(encode_cursor([True]), [int])
    assert_invalid(encode_cursor([2**63]), [int])
    assert_invalid(encode_cursor(["a\0"]), [str])


def test_pages_tell_whether_there_are_more() -> None:
    rows = [1, 2, 3]
    page: Page[str] = page_of(rows, limit=2, total=3, item=str, key=lambda row: [row], scope="s")
    assert page.items == ["1", "2"]
    assert page.has_more
    assert page.cursor is not None
    assert decode_cursor(page.cursor, [int], scope="s") == [2]
    last: Page[str] = page_of(rows[2:], limit=2, total=10_001, item=str, key=lambda row: [row])
    assert (last.has_more, last.cursor, last.total, last.total_is_capped) == (False, None, 10_000, True)
    exact: Page[str] = page_of([], limit=2, total=10_000, item=str, key=lambda row: [row])
    assert (exact.total, exact.total_is_capped) == (10_000, False)


router = APIRouter()


@router.get("/things")
async def things(limit: int = page_limit(20, 50), cursor: str | None = page_cursor()) -> Page[int]:
    start = decode_cursor(cursor, [int], scope="things")[0] if cursor else 0
    rows = list(range(start + 1, min(start + limit + 1, 60) + 1))
    return page_of(rows, limit=limit, total=60, item=int, key=lambda row: [row], scope="things")


async def test_a_list_is_walked_to_its_end() -> None:
    app = create_app(service="t", title="t", version="1", routers=[router])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        seen: list[int] = []
        params: dict[str, Any] = {}
        for _ in range(10):
            page = (await client.get("/things", params=params)).json()
            seen += page["items"]
            params = {"cursor": page["cursor"], "limit": 30}
            if not page["has_more"]:
                break
        assert seen == list(range(1, 61))
        for limit in ("0", "51", "-1", "x", "1e3", "99999999999999999999"):
            response = await client.get("/things", params={"limit": limit})
            assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
        response = await client.get("/things", params={"cursor": "rubbish"})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor")
        response = await client.get("/things", params={"cursor": "x" * 2000})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
