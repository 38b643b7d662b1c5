"""The audit trail over HTTP: the user's own, filtered, paged without repeats or holes while rows arrive."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import asyncpg
import pytest
from sqlalchemy import literal, select
from sqlalchemy.dialects import postgresql

from analytics.domain.event import Event
from analytics.handlers.all_events import decode
from analytics.storage import audit
from analytics.storage.audit import AuditQuery
from analytics.storage.projection import Place, read_behind
from analytics.storage.tables import records
from analytics.usecases.record_events import record_events
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.gateway import WebhookReceived
from common.ids import uuid7

pytestmark = pytest.mark.integration
T0 = datetime(2026, 11, 21, 7, tzinfo=UTC)


def event(user: UUID, second: float, key: str = "scheduler.post.scheduled.v1", **more: Any) -> Event:
    values = {"source": "/services/scheduler", "subject": str(uuid7()), "data": {}} | more
    return Event(id=uuid7(), key=key, time=T0 + timedelta(seconds=second), user_id=user, **values)


async def store(analytics: Any, *events: Event) -> None:
    async with analytics.database.transaction() as tx:
        assert len(await record_events(tx, events)) == len(events)


async def test_an_item_says_who_did_what_to_which_object_from_where(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    stored = event(
        user,
        0.25,
        "scheduler.post.updated.v1",
        subject=str(post),
        actor="api_key:k1",
        client_ip="192.0.2.7",
        user_agent="curl/8",
        correlation_id="req-1",
        data={"post_id": str(post), "changes": {"caption": {"old": "a", "new": "b"}}},
    )
    await store(analytics, stored)
    page = await analytics.audit(user)
    assert page == {
        "items": [
            {
                "id": str(stored.id),
                "at": "2026-11-21T07:00:00.250000Z",
                "actor": {"type": "api_key", "id": "k1"},
                "action": "post.updated",
                "object_type": "post",
                "object_id": str(post),
                "result": "success",
                "reason": None,
                "ip": "192.0.2.7",
                "user_agent": "curl/8",
                "correlation_id": "req-1",
                "changes": {"caption": {"old": "a", "new": "b"}},
            }
        ],
        "total": 1,
        "total_is_capped": False,
        "cursor": None,
        "has_more": False,
    }


async def test_filters_narrow_the_list(analytics: Any) -> None:
    user, post = uuid4(), uuid7()
    due = event(user, 1, "scheduler.post.due.v1", subject=str(post))
    failed = event(user, 2, "publisher.publish.failed.v1", subject=str(post), data={"code": "tiktok_spam"})
    login = event(user, 3, "accounts.login.failed.v1", source="/services/accounts", data={"reason": "wrong_password"})
    await store(analytics, due, failed, login)

    async def ids(**params: Any) -> list[str]:
        page = await analytics.audit(user, **params)
        assert page["total"] == len(page["items"])
        return [item["id"] for item in page["items"]]

    assert await ids() == [str(login.id), str(failed.id), str(due.id)]
    assert await ids(action="post.publish_failed") == [str(failed.id)]
    assert await ids(object_type="session") == [str(login.id)]
    assert await ids(object_id=str(post)) == [str(failed.id), str(due.id)]
    assert await ids(object_id=str(post).upper(), action="post.due") == [str(due.id)]
    assert await ids(**{"from": "2026-11-21T07:00:02Z"}) == [str(login.id), str(failed.id)]
    assert await ids(**{"from": "2026-11-21T08:00:02+01:00", "to": "2026-11-21T07:00:03Z"}) == [str(failed.id)]
    assert await ids(action="nothing.happened") == []


async def test_rare_records_are_found_without_reading_all_of_a_users(analytics: Any) -> None:
    """By the plan, not by a clock: with 20,000 records of a user, both filters use the index of actions."""
    user = uuid4()
    for _ in range(4):
        await store(analytics, *(event(user, number) for number in range(5_000)))
    await store(analytics, event(user, 7, "accounts.login.failed.v1"))
    owner = await asyncpg.connect(analytics.owner_url)
    await owner.execute("ANALYZE audit.records")
    for name, value in (("action", "session.login_failed"), ("object_type", "session")):
        query = audit._matching(select(literal(1)).select_from(records), AuditQuery(user, **{name: value}))
        compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {compiled}"))
        assert "user_id_action_time_id" in plan, plan
        assert [item["action"] for item in (await analytics.audit(user, **{name: value}))["items"]] == ["session.login_failed"]
    await owner.close()


async def test_pages_neither_repeat_nor_skip_while_rows_arrive(analytics: Any) -> None:
    user = uuid4()
    first = [event(user, number // 3) for number in range(25)]
    await store(analytics, *first)
    seen: list[str] = []
    cursor: str | None = None
    for round_ in range(20):
        page = await analytics.audit(user, limit=4, **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in page["items"]]
        cursor = page["cursor"]
        await store(analytics, event(user, 100 + round_), event(uuid4(), 3))
        if not page["has_more"]:
            break
    assert cursor is None
    assert sorted(seen) == sorted(str(item.id) for item in first)
    times = {str(item.id): (item.time, item.id) for item in first}
    assert [times[found] for found in seen] == sorted(times.values(), reverse=True)


async def test_another_user_s_events_are_invisible(analytics: Any) -> None:
    user, other, post = uuid4(), uuid4(), uuid7()
    await store(analytics, event(user, 1, subject=str(post)), event(other, 2))
    await store(analytics, Event(id=uuid7(), key="gateway.webhook.received.v1", source="/s/g", subject=str(post), time=T0))
    page = await analytics.audit(other)
    assert page["total"] == 1
    assert (await analytics.audit(other, object_id=str(post)))["items"] == []
    mine = await analytics.audit(user, limit=1)
    assert (await analytics.audit(uuid4()))["total"] == 0
    assert mine["total"] == 1


async def test_a_webhook_is_kept_once_and_shown_to_nobody(analytics: Any) -> None:
    user = uuid4()
    hook = WebhookReceived(
        client_key="k",
        event="authorization.removed",
        create_time=1_790_000_000,
        user_openid="-000x",
        content={"reason": 1, "user_id": str(user)},
    )
    context, same = Context(actor="webhook:tiktok"), uuid5(NAMESPACE_URL, str(user))
    envelope = wrap(hook, service="gateway", subject="-000x", context=context, envelope_id=same)
    await store(analytics, decode(envelope))
    async with analytics.database.transaction() as tx:
        assert await record_events(tx, [decode(envelope)]) == []
    assert (await analytics.audit(user))["items"] == []


@pytest.mark.parametrize("odd", ["infinity", "-infinity", "20000-01-01", "4000-01-01 BC"])
async def test_a_time_changed_by_hand_to_none_takes_no_other_record_with_it(analytics: Any, odd: str) -> None:
    """The list, the file, the timeline and the statistics go on without it; that it was changed is for the chain's proof to say."""
    user, post = uuid4(), uuid7()
    events = [event(user, second, subject=str(post), data={"post_id": str(post)}) for second in range(3)]
    await store(analytics, *events)
    left = [str(events[0].id), str(events[2].id)]
    of_user, of_scheduler = (
        analytics.user_keys.authorization(user),
        analytics.service_keys.authorization("scheduler", "analytics"),
    )
    owner = await asyncpg.connect(analytics.owner_url)
    await owner.execute(f"UPDATE audit.records SET time = '{odd}' WHERE id = '{events[1].id}'")
    read = await read_behind(owner, Place(datetime(1970, 1, 1, tzinfo=UTC), 0), keys=[events[0].key], limit=10)
    await owner.close()
    assert ([str(told.id) for _, told in read.records], read.last.seq) == (left, 3)
    page = await analytics.audit(user)
    assert ([item["id"] for item in page["items"]], page["total"]) == (left[::-1], 2)
    file = await analytics.http.get("/internal/audit/export", headers=of_user)
    assert [json.loads(line)["id"] for line in file.text.splitlines()] == left
    timeline = await analytics.http.get(
        f"/internal/posts/{post}/timeline", params={"user_id": str(user)}, headers=of_scheduler
    )
    assert [item["at"] for item in timeline.json()["items"]] == ["2026-11-21T07:00:00Z", "2026-11-21T07:00:02Z"]


async def test_a_cursor_of_one_user_shows_another_only_their_own(analytics: Any) -> None:
    user, other = uuid4(), uuid4()
    await store(analytics, *(event(user, number) for number in range(3)), event(other, 0))
    cursor = (await analytics.audit(user, limit=1))["cursor"]
    assert [item["at"] for item in (await analytics.audit(other, cursor=cursor))["items"]] == ["2026-11-21T07:00:00Z"]


async def test_the_total_is_capped_at_ten_thousand(analytics: Any) -> None:
    user = uuid4()
    await store(analytics, *(event(user, number) for number in range(10_000)))
    page = await analytics.audit(user, limit=100)
    assert (page["total"], page["total_is_capped"], len(page["items"])) == (10_000, False, 100)
    await store(analytics, event(user, 1))
    page = await analytics.audit(user)
    assert (page["total"], page["total_is_capped"], len(page["items"])) == (10_000, True, 50)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "many"},
        {"object_id": "7"},
        {"action": "a\x00b"},
        {"action": "x" * 300},
        {"object_type": "Post"},
        {"from": "yesterday"},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "9999-12-31T23:59:59-14:00"},
        {"from": "2026-11-21T07:00:00"},
        {"from": "2026-11-21T07:00:00Z", "to": "2026-11-21T07:00:00Z"},
        {"cursor": "x"},
        {"cursor": "WyJ4Il0"},
    ],
)
async def test_a_wrong_parameter_is_named(analytics: Any, params: dict[str, Any]) -> None:
    answer = await analytics.http.get("/internal/audit", params=params, headers=analytics.user_keys.authorization(uuid4()))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == ("invalid_cursor" if "cursor" in params else "invalid_request")
    assert problem["errors"]
    assert problem["errors"][0]["field"] in {*params, "to", "query"}


async def test_only_a_user_with_the_right_may_look(analytics: Any) -> None:
    async def status(headers: dict[str, str]) -> tuple[int, str]:
        answer = await analytics.http.get("/internal/audit", headers=headers)
        return answer.status_code, answer.json().get("code", "")

    keys = analytics.user_keys
    assert await status({}) == (401, "unauthorized")
    assert await status(analytics.service_keys.authorization("scheduler", "analytics")) == (401, "invalid_token")
    limited = keys.authorization(uuid4(), api_key_id="k", scopes=["posts:read"])
    assert await status(limited) == (403, "insufficient_scope")
    assert await status(keys.authorization(uuid4(), api_key_id="k", scopes=["audit:read"])) == (200, "")
