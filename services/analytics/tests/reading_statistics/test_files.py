"""Statistics as files: what CSV says is what JSON says, however many posts, in constant memory."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from analytics.domain.file_formats import csv_rows
from analytics.domain.post_file import COLUMNS
from analytics.usecases import export_posts as pages
from common.testing.peak_memory import Taken, taken_piecewise

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
CSV_TYPE = "text/csv; charset=utf-8; header=present"


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def as_text(item: dict[str, Any]) -> dict[str, str]:
    """Return what CSV shows of an item of JSON."""
    return {name: "" if value is None else str(value) for name, value in item.items()}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    (row,) = rows_of(csv_rows([["a", "b"], [text, -1.5]]))
    assert row == {"a": f"'{text}", "b": "-1.5"}


@pytest.mark.integration
async def test_a_history_as_csv_has_the_points_of_json(statistics: Any) -> None:
    account = await statistics.account()
    await statistics.measured(account, [(NOW + n * HOUR, 10**n) for n in range(0, 9, 2)])
    span = {"from_": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z", "interval": "hour", "timezone": "Asia/Kolkata"}
    points = (await statistics.get(f"/accounts/{account}/history", **span))["points"]
    assert len(points) == 5
    answer = await statistics.ask(f"/accounts/{account}/history", format="csv", **span)
    assert answer.headers["content-type"] == CSV_TYPE
    assert answer.headers["content-disposition"] == f'attachment; filename="account-hours-{account}.csv"'
    assert rows_of(answer.content) == [as_text(point) for point in points]
    empty = await statistics.ask(f"/accounts/{account}/history", format="csv", to="2020-01-01T00:00:00Z")
    assert empty.content == b"at,follower_count,following_count,likes_count,video_count\r\n"
    assert (await statistics.ask(f"/accounts/{account}/history", format="xml")).status_code == 422
    assert (await statistics.ask(f"/accounts/{uuid4()}/history", format="csv")).status_code == 404


@pytest.mark.integration
async def test_a_curve_as_csv_has_the_points_of_json(statistics: Any) -> None:
    post = await statistics.post()
    await statistics.counted(post, [(NOW + n * HOUR, 10**n) for n in range(6)])
    points = (await statistics.get(f"/posts/{post}"))["points"]
    answer = await statistics.ask(f"/posts/{post}", format="csv")
    assert answer.headers["content-type"] == CSV_TYPE
    assert rows_of(answer.content) == [as_text(point) for point in points]
    assert (await statistics.ask(f"/posts/{post}", format="jsonl")).status_code == 422


@pytest.mark.integration
async def test_the_export_has_a_row_for_each_post_of_the_user_oldest_first(
    statistics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 4)
    account = uuid4()
    same = [{"placed_at": NOW, "state": "failed", "error_code": "=HYPERLINK(1)", "lateness_ms": -0.5}] * 9
    counted = {"view_count": 5, "like_count": 4, "comment_count": 3, "share_count": 2, "measured_at": NOW}
    full = {"placed_at": NOW - HOUR, "account_id": account, "published_at": NOW, "tiktok_video_id": "73", **counted}
    due = {"placed_at": NOW + HOUR, "state": "due", "progress": "deferred", "progress_attempt": 1}
    ids = await statistics.posts([*same, full, due])
    await statistics.posts([{}], user=uuid4())
    answer = await statistics.ask("/export", format="jsonl")
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="posts-{datetime.now(UTC):%Y-%m-%d}.jsonl"'
    items = [json.loads(line) for line in answer.text.splitlines()]
    assert [item["id"] for item in items] == [str(ids[9]), *sorted(map(str, ids[:9])), str(ids[10])]
    assert tuple(items[0]) == COLUMNS
    assert items[0] == {
        "id": str(ids[9]),
        "account_id": str(account),
        "state": "published",
        "placed_at": "2026-11-21T06:00:00Z",
        "published_at": "2026-11-21T07:00:00Z",
        "tiktok_video_id": "73",
        "lateness_ms": None,
        "error_code": None,
        "view_count": 5,
        "like_count": 4,
        "comment_count": 3,
        "share_count": 2,
        "measured_at": "2026-11-21T07:00:00Z",
    }
    assert items[10]["state"] == "deferred"
    as_csv = await statistics.ask("/export")
    assert as_csv.headers["content-type"] == CSV_TYPE
    safe = [item | {"error_code": f"'{item['error_code']}"} if item["error_code"] else item for item in items]
    assert rows_of(as_csv.content) == [as_text(item) for item in safe]
    span = {"from_": "2026-11-21T06:00:00Z", "to": "2026-11-21T07:00:00Z"}
    assert [row["id"] for row in rows_of((await statistics.ask("/export", **span)).content)] == [str(ids[9])]
    assert rows_of((await statistics.ask("/export", user=uuid4())).content) == []


@pytest.mark.integration
async def test_wrong_questions_for_a_file(statistics: Any) -> None:
    for params in (
        {"format": "json"},
        {"from": "now"},
        {"to": "2026-11-21T07:00:00Z\x00"},
        {"from": "2026-11-21T07:00:00Z", "to": "2026-11-21T07:00:00Z"},
    ):
        answer = await statistics.ask("/export", **params)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    keys, http = statistics.analytics.user_keys, statistics.analytics.http
    limited = keys.authorization(uuid4(), api_key_id="k", scopes=["audit:read"])
    for headers, status in (({}, 401), (limited, 403)):
        assert (await http.get("/internal/analytics/export", headers=headers)).status_code == status


@pytest.mark.integration
async def test_memory_stays_the_same_however_many_posts(statistics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service runs in this process: what it holds at most is measured while a reader takes one piece at a time."""
    monkeypatch.setattr(pages, "PAGE", 20)
    users = {number: uuid4() for number in (100, 500, 2_500)}
    async with statistics.analytics.database.transaction() as tx:
        for number, user in users.items():
            await tx.connection.execute(
                text(
                    "INSERT INTO stats_posts (post_id, user_id, account_id, state, placed_at, published_at, error_code)"
                    " SELECT gen_random_uuid(), :user, gen_random_uuid(), 'failed', time, time, repeat('x', 4000)"
                    " FROM generate_series(1, :number) AS n, LATERAL (SELECT CAST(:now AS timestamptz) - n * interval '1 minute')"
                    " AS made (time)"
                ),
                {"user": user, "number": number, "now": NOW},
            )

    async def peak(user: UUID) -> Taken:
        headers = statistics.analytics.user_keys.authorization(user)
        return await taken_piecewise(statistics.analytics.http.stream("GET", "/internal/analytics/export", headers=headers))

    # The first one pays for what is made once, and is not compared.
    _, small, large = [await peak(user) for user in users.values()]
    assert (small.lines, large.lines) == (501, 2_501)
    assert large.size - small.size > 8_000_000
    # A file that is held whole takes all of this, or several times as much; what else the process does meanwhile, half a megabyte.
    assert large.peak - small.peak < (large.size - small.size) * 0.5


@pytest.mark.integration
async def test_a_failure_on_the_way_cuts_the_connection(statistics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    await statistics.posts([{}] * 5)
    real, calls = pages.posts.page, 0

    async def failing(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionResetError("the database went away")
        return await real(*args, **named)

    monkeypatch.setattr(pages.posts, "page", failing)
    with pytest.raises(httpx.TransportError):
        await statistics.ask("/export")


@pytest.mark.integration
async def test_a_database_that_is_away_is_told_before_the_file_begins(
    statistics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(pages.posts, "page", failing)
    assert (await statistics.ask("/export")).status_code == 503
