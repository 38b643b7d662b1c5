"""The trail as a file: all of it in order, in constant memory, and nothing in it that a spreadsheet would run."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from analytics.domain.event import Event
from analytics.domain.export import COLUMNS, beginning, written
from analytics.usecases import export_audit as pages
from analytics.usecases.record_events import record_events
from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from common.testing.peak_memory import Taken, taken_piecewise

T0 = datetime(2026, 11, 21, 7, tzinfo=UTC)
ITEM = {
    "id": "0193a000-0000-7000-8000-000000000001",
    "at": T0 + timedelta(milliseconds=250),
    "actor": {"type": "user", "id": "u"},
    "action": "post.updated",
    "object_type": "post",
    "object_id": "p",
    "result": "success",
    "reason": None,
    "ip": "192.0.2.7",
    "user_agent": "curl/8",
    "correlation_id": "req-1",
    "changes": {"caption": ["a", 'say "\u00e9", then\r\nstop']},
}


def rows_of(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_a_line_of_json_is_the_item_of_the_list() -> None:
    lines = written([ITEM, ITEM], "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [ITEM | {"at": "2026-11-21T07:00:00.250000Z"}] * 2
    assert beginning("jsonl") == b""


def test_a_row_of_csv_has_the_same_fields() -> None:
    text = beginning("csv") + written([ITEM], "csv")
    assert text.startswith(b"id,at,actor_type,")
    assert text.endswith(b"\r\n")
    (row,) = rows_of(text)
    assert tuple(row) == COLUMNS
    assert row["at"] == "2026-11-21T07:00:00.250000Z"
    assert (row["actor_type"], row["actor_id"], row["reason"]) == ("user", "u", "")
    assert json.loads(row["changes"]) == ITEM["changes"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_what_a_spreadsheet_would_run_is_text_in_csv(text: str) -> None:
    (row,) = rows_of(beginning("csv") + written([ITEM | {"user_agent": text}], "csv"))
    assert row["user_agent"] == f"'{text}"
    assert json.loads(written([ITEM | {"user_agent": text}], "jsonl"))["user_agent"] == text


async def store(analytics: Any, user: UUID, number: int, *, at: datetime = T0, **more: Any) -> list[Event]:
    values = {"key": "scheduler.post.updated.v1", "source": "/services/scheduler", "subject": str(uuid7())} | more
    events = [Event(id=uuid7(), time=at + timedelta(seconds=n // 3), user_id=user, **values) for n in range(number)]
    async with analytics.database.transaction() as tx:
        await record_events(tx, events)
    return events


async def export(analytics: Any, user: UUID, **params: Any) -> httpx.Response:
    answer: httpx.Response = await analytics.http.get(
        "/internal/audit/export", params=params, headers=analytics.user_keys.authorization(user)
    )
    return answer


@pytest.mark.integration
async def test_the_whole_trail_of_the_user_oldest_first_over_pages(analytics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 7)
    user = uuid4()
    told = await store(analytics, user, 25)
    await store(analytics, uuid4(), 3)
    await store(analytics, user, 2, at=datetime.now(UTC) + timedelta(hours=1))
    answer = await export(analytics, user)
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == f'attachment; filename="audit-{datetime.now(UTC):%Y-%m-%d}.jsonl"'
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [item["id"] for item in found] == [str(event.id) for event in sorted(told, key=lambda e: (e.time, e.id))]
    newest_first = (await analytics.audit(user, limit=100, to="2026-11-22T00:00:00Z"))["items"]
    assert found == newest_first[::-1], "a line is what the list has"
    as_csv = await export(analytics, user, format="csv")
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert [row["id"] for row in rows_of(as_csv.content)] == [item["id"] for item in found]


@pytest.mark.integration
async def test_filters_narrow_the_file(analytics: Any) -> None:
    user = uuid4()
    await store(analytics, user, 6)
    failed = await store(analytics, user, 1, key="publisher.publish.failed.v1", data={"code": "c"})
    for params in ({"action": "post.publish_failed"}, {"object_id": failed[0].subject}):
        answer = await export(analytics, user, **params)
        assert [json.loads(line)["id"] for line in answer.text.splitlines()] == [str(failed[0].id)]
    span = {"from": "2026-11-21T07:00:01Z", "to": "2026-11-21T07:00:02Z", "format": "csv"}
    assert len(rows_of((await export(analytics, user, **span)).content)) == 3
    empty = await export(analytics, uuid4(), format="csv")
    assert rows_of(empty.content) == []
    assert empty.content == beginning("csv")


@pytest.mark.integration
@pytest.mark.parametrize("params", [{"format": "xml"}, {"limit": "x", "format": ""}, {"from": "now"}, {"action": "\x00"}])
async def test_invalid_input_is_refused(analytics: Any, params: dict[str, Any]) -> None:
    answer = await export(analytics, uuid4(), **params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.integration
async def test_only_a_user_with_the_right_may_take_it(analytics: Any) -> None:
    keys: UserKeys = analytics.user_keys
    limited = keys.authorization(uuid4(), api_key_id="k", scopes=["posts:read"])
    for headers, status in (({}, 401), (limited, 403)):
        assert (await analytics.http.get("/internal/audit/export", headers=headers)).status_code == status


@pytest.mark.integration
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
async def test_memory_stays_the_same_however_long_the_trail(
    analytics: Any, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    """The service runs in this process: what it holds at most is measured while a reader takes one piece at a time."""
    monkeypatch.setattr(pages, "PAGE", 50)
    users = {number: uuid4() for number in (250, 500, 2_000)}
    for number, user in users.items():
        await store(analytics, user, number, data={"changes": {"caption": ["x" * 2_500, "y" * 2_500]}})
    await eventually(lambda: _is_read_for_statistics(analytics), timeout=60)

    async def peak(user: UUID) -> Taken:
        headers = analytics.user_keys.authorization(user)
        path = f"/internal/audit/export?format={format_}"
        return await taken_piecewise(analytics.http.stream("GET", path, headers=headers))

    # The first one pays for what is made once, and is not compared.
    _, small, large = [await peak(user) for user in users.values()]
    assert (small.lines, large.lines) == ((500, 2_000) if format_ == "jsonl" else (501, 2_001))
    assert large.size - small.size > 7_000_000
    # A file that is held whole takes all of this, or several times as much; what else the process does meanwhile, half a megabyte.
    assert large.peak - small.peak < (large.size - small.size) * 0.5


async def _is_read_for_statistics(analytics: Any) -> bool:
    """Tell whether the statistics, which read the trail too, are through with it."""
    query = "SELECT (SELECT max(seq) FROM projection) = (SELECT max(seq) FROM audit.records)"
    async with analytics.database.read() as connection:
        return bool(await connection.scalar(text(query)))


@pytest.mark.integration
async def test_a_failure_on_the_way_cuts_the_connection_and_ends_no_file_early(
    analytics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 5)
    user = uuid4()
    await store(analytics, user, 12)
    real, calls = pages.audit.oldest, 0

    async def failing(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionResetError("the database went away")
        return await real(*args, **named)

    monkeypatch.setattr(pages.audit, "oldest", failing)
    with pytest.raises(httpx.TransportError):
        await export(analytics, user)


@pytest.mark.integration
async def test_a_database_that_is_away_is_told_before_the_file_begins(analytics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(pages.audit, "oldest", failing)
    answer = await export(analytics, uuid4())
    assert answer.status_code == 503
