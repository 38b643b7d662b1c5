"""A post's counters and curve over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from analytics.usecases import read_post_statistics

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 21, 7, 20, 0, 250_000, tzinfo=UTC)
HOUR = timedelta(hours=1)


def point(moment: datetime, views: int) -> dict[str, Any]:
    counters = {"view_count": views, "like_count": views // 2, "comment_count": views // 3, "share_count": views // 5}
    return {"at": moment.isoformat().replace("+00:00", "Z"), **counters}


async def test_a_post_that_was_never_measured_has_no_counters(statistics: Any) -> None:
    post = await statistics.post(tiktok_video_id="7301234567890123456")
    assert await statistics.get(f"/posts/{post}") == {
        "post_id": str(post),
        "tiktok_video_id": "7301234567890123456",
        "latest": None,
        "points": [],
    }
    draft = await statistics.post(state="draft", account_id=None)
    assert (await statistics.get(f"/posts/{draft}"))["tiktok_video_id"] is None


async def test_the_curve_is_what_was_measured_oldest_first_over_months(statistics: Any) -> None:
    first = NOW - timedelta(days=60)
    measures = [(first, 0), (first + HOUR, 20), (NOW - 30 * HOUR, 500), (NOW, 1_000)]
    latest = {name: value for name, value in point(NOW, 1_000).items() if name != "at"}
    post = await statistics.post(tiktok_video_id="1", measured_at=NOW, **latest)
    other = await statistics.post()
    await statistics.counted(post, reversed(measures))
    await statistics.counted(other, [(NOW, 7)])
    assert await statistics.get(f"/posts/{post}") == {
        "post_id": str(post),
        "tiktok_video_id": "1",
        "latest": point(NOW, 1_000),
        "points": [point(*measure) for measure in measures],
    }


async def test_a_long_curve_is_cut_to_its_newest_points(statistics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_post_statistics, "MAX_POINTS", 3)
    post = await statistics.post()
    await statistics.counted(post, [(NOW + n * HOUR, n) for n in range(5)])
    assert [point["view_count"] for point in (await statistics.get(f"/posts/{post}"))["points"]] == [2, 3, 4]


async def test_a_foreign_post_is_none(statistics: Any) -> None:
    foreign = await statistics.post(user=uuid4())
    for post in (foreign, uuid4()):
        answer = await statistics.ask(f"/posts/{post}")
        assert (answer.status_code, answer.json()["code"]) == (404, "post_not_found")
    for odd in ("7", "%00", "null"):
        assert (await statistics.ask(f"/posts/{odd}")).status_code == 404
