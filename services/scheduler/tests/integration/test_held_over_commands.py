"""Posts of an account that cannot publish, as clients meet them: by command, HTTP and events over RabbitMQ."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from common.clock import rfc3339, utc_now
from common.contracts import accounts as contract
from common.contracts.scheduler import CreatePost, PublishPostNow, UpdatePost
from common.testing.eventually import eventually
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.outcome import Patience
from scheduler.domain.retry import RetryPolicy
from scheduler.encoding import post_json
from scheduler.usecases.apply_publish_event import PublishRules

pytestmark = pytest.mark.integration
RULES = PublishRules(RetryPolicy(), Patience())
AWAY = {"inactive": "account_paused", "expired": "account_expired"}


def moving(account: AccountCopy, **fields: Any) -> dict[str, Any]:
    mine = {"account_id": account.id, "user_id": account.user_id}
    return {**mine, "status": "due", "attempt": 1, "next_attempt_at": None, "scheduled_time": utc_now(), **fields}


@pytest.mark.parametrize("status", AWAY)
async def test_a_post_on_an_account_that_is_away_is_taken_and_says_so(world: Any, scheduler: Any, status: str) -> None:
    account = await world.account(status=status)
    media_id = await world.media(account.user_id)
    command = CreatePost(
        tiktok_account_id=account.id,
        caption="later",
        privacy_level="PUBLIC_TO_EVERYONE",
        media_id=media_id,
        scheduled_time=rfc3339(utc_now() + timedelta(hours=1)),
    )
    reply = await scheduler.command(command, account.user_id)
    assert reply.status == 201
    (warning,) = [item for item in reply.body["warnings"] if item["field"] == "tiktok_account_id"]
    assert warning["code"] == AWAY[status]
    assert warning["message"]
    assert warning["hint"]
    assert reply.body["next_attempt_at"] is None
    assert (reply.body["status"], reply.body["scheduled_time"] is None) == ("scheduled", False)
    listed = (await scheduler.get("/internal/posts", account.user_id)).json()["items"]
    assert [item["warnings"] for item in listed] == [[warning]]
    shown = (await scheduler.get(f"/internal/posts/{reply.body['id']}/status", account.user_id)).json()
    assert (shown["next_step"], shown["next_step_at"], shown["reason"]["code"]) == ("wait_for_account", None, AWAY[status])
    assert shown["reason"]["hint"]


@pytest.mark.parametrize("status", AWAY)
async def test_being_held_is_an_event_of_its_own(world: Any, scheduler: Any, status: str) -> None:
    account = await world.account(status=status)
    draft = await world.post(account_id=account.id, user_id=account.user_id, status="draft", next_attempt_at=None)
    await world.execute("UPDATE posts SET media_id = :media", media=await world.media(account.user_id))
    time = rfc3339(utc_now() + timedelta(hours=1))
    reply = await scheduler.command(
        UpdatePost(post_id=draft.id, changes={"scheduled_time": time, "draft": False}), draft.user_id
    )
    assert reply.status == 200, reply.body
    assert (reply.body["status"], reply.body["next_attempt_at"]) == ("scheduled", None)
    held = await world.reload(draft)
    assert (held.held, held.held_reason) == (True, AWAY[status])


async def test_a_held_post_is_neither_published_now_nor_lost_by_a_change(world: Any, scheduler: Any, account: Any) -> None:
    post = await world.post(account_id=account.id, user_id=account.user_id, next_attempt_at=utc_now() + timedelta(hours=1))
    await world.execute("UPDATE posts SET media_id = :media", media=await world.media(account.user_id))
    await world.hear(account, contract.AccountUpdated, 2, "inactive")
    reply = await scheduler.command(PublishPostNow(post_id=post.id), post.user_id)
    assert (reply.status, reply.body["code"]) == (409, "account_not_active")
    time = rfc3339(utc_now() + timedelta(hours=2))
    reply = await scheduler.command(UpdatePost(post_id=post.id, changes={"scheduled_time": time}), post.user_id)
    assert (reply.status, reply.body and reply.body["next_attempt_at"]) == (200, None)
    await world.hear(account, contract.AccountUpdated, 3)
    now = await world.reload(post)
    assert (now.held, post_json(now)["next_attempt_at"], post_json(now)["warnings"]) == (False, time, [])


async def test_an_account_that_was_disconnected_and_is_back_is_asked_for(world: Any, scheduler: Any) -> None:
    """The event of the reconnection is on its way; the copy still says disconnected."""
    account = await world.account(deleted=True, version=4)
    media_id = await world.media(account.user_id)
    command = CreatePost(
        tiktok_account_id=account.id,
        privacy_level="PUBLIC_TO_EVERYONE",
        media_id=media_id,
        scheduled_time=rfc3339(utc_now() + timedelta(hours=1)),
    )
    path = f"GET accounts /internal/users/{account.user_id}/accounts/{account.id}"
    scheduler.neighbours.answers[path] = (404, {})
    assert (await scheduler.command(command, account.user_id)).status == 404
    scheduler.neighbours.answers[path] = (200, _shown(account.id, 5))
    assert (await scheduler.command(command, account.user_id)).status == 201


async def test_over_the_broker_it_goes_on_when_the_account_is_back(world: Any, scheduler: Any) -> None:
    account = await world.account(status="expired")
    post = await world.post(account_id=account.id, user_id=account.user_id, held=True, held_reason="account_expired")
    event = contract.AccountConnected(
        account_id=account.id, user_id=account.user_id, tiktok_user_id="t", username="a", display_name="A", status="active",
        scopes=[], reconnected=True,
    )  # fmt: skip
    for _ in range(2):
        await scheduler.event(event, "accounts", account.id, account.user_id, 2)

    async def is_due() -> bool:
        return bool((await world.reload(post)).status == "due")

    await eventually(is_due)


def _shown(account_id: UUID, version: int) -> dict[str, Any]:
    return {"id": str(account_id), "username": "ann", "status": "active", "version": version}
