"""A post's timeline over HTTP, for the scheduler alone."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from common.ids import uuid7

pytestmark = pytest.mark.integration


async def get(analytics: Any, post: UUID | str, user: UUID | str, caller: str = "scheduler", **more: str) -> Any:
    return await analytics.http.get(
        f"/internal/posts/{post}/timeline",
        params={"user_id": str(user), **more},
        headers=analytics.service_keys.authorization(caller, "analytics"),
    )


async def test_what_happened_is_told_in_order_though_it_arrived_in_another(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    first = analytics.scheduled(user, post_id=post)
    await analytics.tell(analytics.started(post, user, cause=first), first, first, analytics.scheduled(user))
    await analytics.stored_exactly(3)
    answer = await get(analytics, post, user)
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["type"] for item in items] == ["post.scheduled", "publish.started"]
    assert items[1]["at"].endswith("Z")
    assert items[1] | {"at": ""} == {
        "at": "",
        "type": "publish.started",
        "message": "Attempt 1 started on publisher-1, 3 ms after its time.",
        "attempt": 1,
        "replica": "publisher-1",
        "details": {"due_at": "2026-11-21T07:00:00Z", "started_at": "2026-11-21T07:00:00Z", "lateness_ms": 3.0},
    }


async def test_another_user_s_post_has_no_timeline(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    await analytics.tell(analytics.scheduled(user, post_id=post))
    await analytics.stored_exactly(1)
    assert (await get(analytics, post, uuid4())).json()["items"] == []
    assert (await get(analytics, uuid7(), user)).json()["items"] == []
    assert len((await get(analytics, post, user)).json()["items"]) == 1


async def test_an_event_that_names_no_user_belongs_to_the_post_s_owner(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    anonymous = analytics.started(post, user).model_copy(update={"userid": None})
    await analytics.tell(anonymous)
    await analytics.stored_exactly(1)
    assert (await get(analytics, post, user)).json()["items"] == []
    await analytics.tell(analytics.scheduled(user, post_id=post))
    await analytics.stored_exactly(2)
    assert len((await get(analytics, post, user)).json()["items"]) == 2
    assert (await get(analytics, post, uuid4())).json()["items"] == []


async def test_a_timeline_is_bounded_to_the_newest(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    await analytics.tell(*(analytics.scheduled(user, post_id=post, sequence=number) for number in range(1003)))
    await analytics.stored_exactly(1003)
    answer = (await get(analytics, post, user)).json()
    items = answer["items"]
    assert (len(items), answer["truncated"]) == (1000, True)
    rows = sorted(row["time"] for row in await analytics.rows())
    assert items[0]["at"] >= rows[3].isoformat()[:19]


async def test_who_may_ask_and_how(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    assert (await get(analytics, post, user, caller="gateway")).status_code == 403
    with_user = await analytics.http.get(
        f"/internal/posts/{post}/timeline",
        params={"user_id": str(user)},
        headers=analytics.user_keys.authorization(user),
    )
    assert with_user.status_code == 401
    assert (await get(analytics, "7", user)).status_code == 404
    assert (await get(analytics, post, "7")).status_code == 422


async def test_what_is_only_told_again_is_kept_but_not_shown(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    first = analytics.scheduled(user, post_id=post)
    started = analytics.started(post, user, cause=first)
    again = started.model_copy(update={"id": uuid7(), "data": {**started.data, "again": True}})
    await analytics.tell(first, started, again)
    await analytics.stored_exactly(3)
    items = (await get(analytics, post, user)).json()["items"]
    assert [item["type"] for item in items] == ["post.scheduled", "publish.started"]
