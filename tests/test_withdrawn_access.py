"""A creator takes the access away in TikTok: webhook, gateway, broker, accounts, and what its owner and others see."""

from pathlib import Path
from typing import Any

import pytest

from demo.api import Creator, Cuepost
from localstack.service_environment import public_url
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

CONNECTED = "accounts.account.connected"
EXPIRED = "accounts.account.expired"
RECEIVED = "gateway.webhook.received"


def test_withdrawn_twice_told_and_out_of_order(operator: Operator) -> None:
    account, creator = operator.account()
    other, untouched = operator.account()
    operator.fault("webhook", duplicate=True, reorder=True, open_id=creator.open_id)
    operator.withdraw(creator, reason=2)
    # What the delayed one lets pass.
    operator.fault("webhook", drop=True, open_id=untouched.open_id)
    operator.tell(untouched, "post.publish.complete", {"publish_id": "x"})
    operator.tell(untouched, "post.publish.complete", {"publish_id": "y"})
    assert wait_expired(operator, account)["last_error"] == "The creator's TikTok account was deleted."
    wait_for("both copies", lambda: all(item["state"] == "delivered" for item in operator.webhooks(creator)))
    assert [item["attempts"] for item in operator.webhooks(creator)] == [2]
    # An event leaves after its state was committed: what can be read already may still be on its way to consumers.
    expired = operator.wait_event(account, EXPIRED)
    received = operator.wait_event(creator.open_id, RECEIVED)
    assert expired["causationid"] == received["id"]
    assert [item["state"] for item in operator.webhooks(untouched)] == ["dropped", "delivered"]
    assert operator.user.account(other)["status"] == "active"
    assert operator.user.connect(creator) == account
    assert operator.user.account(account)["status"] == "active"
    operator.wait_event(account, CONNECTED, count=2)
    assert (len(operator.events.of(account, EXPIRED)), len(operator.events.of(creator.open_id, RECEIVED))) == (1, 1)


def test_posts_of_an_expired_account_wait_visibly_and_go_on_when_it_is_connected_again(
    operator: Operator, tmp_path: Path
) -> None:
    account, creator = operator.account()
    media = operator.media(make_small_video(tmp_path / "waiting.mp4").path)
    posts = [operator.schedule(account, media, in_seconds=3600) for _ in range(2)]

    def shown() -> set[tuple[str, str, str | None]]:
        """Return the states of the posts, what comes next, and why they wait."""
        answers = [operator.user.get(f"/api/v1/posts/{post}/status").json() for post in posts]
        return {(one["status"], one["next_step"], (one["reason"] or {}).get("code")) for one in answers}

    on_time, waiting = {("scheduled", "publish", None)}, {("scheduled", "wait_for_account", "account_expired")}
    assert shown() == on_time
    operator.withdraw(creator)
    wait_expired(operator, account)
    wait_for("both to say why they wait", lambda: shown() == waiting)
    reason = operator.user.get(f"/api/v1/posts/{posts[0]}/status").json()["reason"]
    assert reason["hint"].startswith("Connect the account again; the post then goes on")
    assert operator.user.connect(creator) == account
    wait_for("both to wait for their time alone", lambda: shown() == on_time)
    assert operator.user.request("POST", f"/api/v1/posts/{posts[0]}/publish-now").status_code == 202
    assert operator.wait_final(posts[0]) == "published"
    assert (len(operator.publications(creator)), operator.status(posts[1])) == (1, "scheduled")


def test_the_trail_tells_the_owner_and_nobody_else(operator: Operator) -> None:
    stranger = Cuepost(public_url(operator.stack.blueprint), f"http://127.0.0.1:{operator.stack.ports.simulator}")
    stranger.register()
    account, creator = operator.account()
    operator.withdraw(creator)
    wait_expired(operator, account)
    entry = wait_for("the audit trail", lambda: _expiries(operator.user, account))[0]
    assert (entry["actor"], entry["reason"]) == (
        {"type": "webhook", "id": "tiktok"},
        "The creator disconnected the app in TikTok.",
    )
    assert _expiries(stranger, account) == []
    for user in (operator.user, stranger):
        assert user.audit(object_type="webhook")["items"] == []
        assert creator.open_id not in str(stranger.audit())


def test_while_the_broker_hangs_tiktok_is_told_to_come_again(operator: Operator) -> None:
    account, creator = operator.account()
    with operator.frozen("rabbitmq"):
        operator.withdraw(creator)
        wait_for("a refusal", lambda: _answers(operator, creator) == ["503"], timeout=20)
        assert operator.user.account(account)["status"] == "active"
    wait_expired(operator, account)
    assert wait_for("200", lambda: [item["state"] for item in operator.webhooks(creator)] == ["delivered"])
    operator.wait_event(account, EXPIRED)
    assert operator.user.connect(creator) == account
    operator.wait_event(account, CONNECTED, count=2)
    assert len(operator.events.of(account, EXPIRED)) == 1


def wait_expired(operator: Operator, account: str) -> dict[str, Any]:
    def expired() -> dict[str, Any] | None:
        shown = operator.user.account(account)
        return shown if shown["status"] == "expired" else None

    found: dict[str, Any] = wait_for("the account's expiry", expired)
    return found


def _answers(operator: Operator, creator: Creator) -> list[str]:
    return [item["last_answer"] for item in operator.webhooks(creator)]


def _expiries(user: Cuepost, account: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = user.audit(object_id=account, action="account.expired")["items"]
    return items
