"""TikTok's daily cap is told beforehand: by what the publisher counts and what is planned for the account."""

from datetime import timedelta
from typing import Any

import pytest

from common.clock import rfc3339, utc_now
from common.contracts.scheduler import CreatePosts, GivenFields, Row

pytestmark = pytest.mark.integration


@pytest.fixture
def noon(author: Any) -> Any:
    """Return a time to plan around; the publisher answers that three posts of the author's account fit in a day."""
    answer(author)
    return utc_now().replace(second=0, microsecond=0) + timedelta(days=3)


def answer(author: Any, *moments: Any, **fields: Any) -> None:
    body = {"allowed": 3, "window_seconds": 86_460.0, "moments": [rfc3339(at) for at in moments], "not_before": None, **fields}
    author.scheduler.neighbours.answers[f"GET publisher /internal/accounts/{author.account_id}/day"] = (200, body)


def told(post: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(warning["code"], warning.get("alternatives")) for warning in post["warnings"]]


async def test_what_does_not_fit_into_the_day_is_told_when_it_is_made_and_changed(author: Any, noon: Any, world: Any) -> None:
    other = await world.account(author.user_id)
    fields = {"user_id": author.user_id, "account_id": author.account_id, "publish_before": noon + timedelta(days=2)}
    for hours in (-5, -3):
        await world.post(**fields, next_attempt_at=noon + timedelta(hours=hours))
    # None of these is in the way.
    await world.post(**fields, next_attempt_at=noon + timedelta(seconds=1))
    await world.post(**fields, next_attempt_at=noon - timedelta(hours=25))
    await world.post(**fields, next_attempt_at=noon - timedelta(hours=1), mode="inbox")
    await world.post(**fields, next_attempt_at=noon - timedelta(hours=1), status="draft")
    await world.post(**fields | {"account_id": other.id}, next_attempt_at=noon - timedelta(hours=1))
    first = await author.post(scheduled_time=noon, allow_duplicate=True)
    assert told(first) == []
    second = await author.post(scheduled_time=noon, allow_duplicate=True)
    when = [rfc3339(noon - timedelta(hours=5) + timedelta(days=1, minutes=1))]
    assert told(second) == [("tiktok_daily_posts", when)]
    draft = await author.draft(tiktok_account_id=author.account_id, scheduled_time=noon)
    assert told(draft) == []
    # One that is there already is not in its own way, nor are those after it; given room, the warning goes.
    unmoved = await author.change(first, caption="Better")
    assert unmoved.status == 200
    assert told(unmoved.body) == []
    still = await author.change(second, caption="Better")
    assert told(still.body) == [("tiktok_daily_posts", when)]
    moved = await author.change(second, scheduled_time=noon + timedelta(hours=30))
    assert told(moved.body) == []


async def test_a_batch_and_a_dry_run_count_their_own_rows(author: Any, noon: Any) -> None:
    def row(number: int, **fields: Any) -> Row:
        return Row(row=number, post=GivenFields.model_validate(author.plain() | {"allow_duplicate": True} | fields))

    hours = (3, 0, 1, 2, 30)
    rows = [row(place + 1, scheduled_time=noon + timedelta(hours=hour)) for place, hour in enumerate(hours)]
    broken = row(6, scheduled_time=noon + timedelta(hours=0.5), privacy_level=None)
    for options in ({"dry_run": True}, {}):
        command = CreatePosts(rows=[*rows, broken], mode="valid_rows", **options)
        reply = await author.scheduler.command(command, author.user_id)
        items = reply.body["items"]
        assert [[warning["code"] for warning in item["warnings"]] for item in items] == [["tiktok_daily_posts"], *[[]] * 5]
        shown = [item["post"]["warnings"] for item in items[:5] if item["post"]]
    assert [len(warnings) for warnings in shown] == [1, 0, 0, 0, 0]


async def test_what_tiktok_said_itself_is_told_where_posts_are_not_counted(author: Any, noon: Any) -> None:
    until = rfc3339(noon + timedelta(hours=1))
    answer(author, not_before=until, allowed=None)
    assert told(await author.post(scheduled_time=noon)) == [("tiktok_daily_posts", [until])]
