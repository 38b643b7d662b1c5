"""Accounts as their owner handles them: paused, resumed, read from TikTok, disconnected; through every service."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.api import Creator
from demo.video import make_video
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
ACCOUNTS = "/api/v1/accounts"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("accounts") / "small.mp4").path


def test_a_paused_accounts_posts_wait_and_go_on(operator: Operator, video: Path) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(video), in_seconds=3600)
    assert change(operator, account, "inactive").json()["status"] == "inactive"
    held = operator.wait_event(post, "scheduler.post.held")
    operator.let_fall_due([post])
    assert (held["data"]["held"], held["data"]["reason"]) == (True, "account_paused")
    shown = operator.user.get(f"/api/v1/posts/{post}/status").json()
    assert (shown["status"], shown["next_step"], shown["next_step_at"]) == ("scheduled", "wait_for_account", None)
    assert (shown["reason"]["code"], shown["reason"]["message"]) == ("account_paused", "The TikTok account is paused.")
    assert shown["reason"]["hint"].startswith("Set the account to active; the post then goes on")
    assert change(operator, account, "active").json()["status"] == "active"
    assert operator.wait_final(post) == "published"
    assert len(operator.publications(creator)) == 1


def test_a_disconnected_account_is_gone_its_posts_cancelled_and_its_grant_revoked(operator: Operator, video: Path) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(video), in_seconds=3600)
    key = {"Idempotency-Key": "once"}
    path = f"{ACCOUNTS}/{account}"
    assert [call(operator, "DELETE", path, headers=key).status_code for _ in range(2)] == [204, 204]
    for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/creator-info"), ("POST", "/sync")):
        answer = call(operator, method, path + below)
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found"), below
    assert operator.wait_final(post) == "cancelled"
    wait_for("its trace in the audit trail", lambda: disconnection(operator, account))
    wait_for("the grant's end", lambda: not connected(operator, creator))
    # A grant from the moment of the revocation would not be trusted.
    wait_for("connecting again", lambda: reconnected(operator, creator) == account, timeout=60)
    assert connected(operator, creator)
    assert operator.user.account(account)["status"] == "active"


def disconnection(operator: Operator, account: str) -> bool:
    """Whether the owner still reads in the trail that the account, which is gone, was disconnected."""
    page = operator.user.audit(action="account.disconnected", object_id=account)
    return [item["object_type"] for item in page["items"]] == ["account"]


def test_accounts_are_read_from_tiktok(operator: Operator) -> None:
    account, creator = operator.account()
    operator._simulator.post(
        "/_simulator/creators", json={"username": creator.username, "follower_count": 777}
    ).raise_for_status()
    synced = call(operator, "POST", f"{ACCOUNTS}/{account}/sync")
    assert (synced.status_code, synced.json()["follower_count"]) == (200, 777), synced.text
    other = "01a1fd00-0000-7000-8000-000000000000"
    batch = call(operator, "POST", f"{ACCOUNTS}/batch/sync", json={"account_ids": [account, other, account]})
    assert (batch.json()["success"], batch.json()["total"]) == ([account], 2)
    assert [(item["id"], item["code"]) for item in batch.json()["failed"]] == [(other, "account_not_found")]
    summary = call(operator, "GET", f"{ACCOUNTS}/stats/summary").json()
    assert summary["total_accounts"] >= 1
    assert summary["total_followers"] >= 777
    found = call(operator, "GET", ACCOUNTS, params={"search": creator.username.upper()}).json()
    assert [item["id"] for item in found["items"]] == [account]
    wait_for("the event", lambda: len(operator.events.of(account, "accounts.account.synced")) == 2)


def test_a_command_outlives_the_process_that_runs_it(operator: Operator) -> None:
    account, creator = operator.account()
    operator._simulator.post(
        "/_simulator/creators", json={"username": creator.username, "follower_count": 5}
    ).raise_for_status()
    operator.fault("/v2/user/info/", delay=20, open_id=creator.open_id)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(call, operator, "POST", f"{ACCOUNTS}/{account}/sync")
        wait_for("TikTok to be asked", lambda: not operator._simulator.get("/_simulator/faults").json()["items"])
        assert not asking.done()
        operator.stack.kill("accounts-1", signal.SIGKILL)
        answer = asking.result()
    # It is started again and gets the command again: within the patience of a request, or later.
    if answer.status_code == 200:
        told = answer.json()
    else:
        assert answer.status_code == 202, answer.text
        told = answer_of(operator, answer.headers["location"])["body"]
    assert told["follower_count"] == 5
    wait_for("the event", lambda: len(operator.events.of(account, "accounts.account.synced")) == 1)


def answer_of(operator: Operator, location: str) -> dict[str, Any]:
    """Wait for the answer of an operation."""

    def done() -> dict[str, Any] | None:
        shown = call(operator, "GET", location)
        return shown.json()["answer"] if shown.status_code == 200 and shown.json()["status"] == "done" else None

    return wait_for("the operation's answer", done, timeout=60)


def change(operator: Operator, account: str, status: str) -> httpx.Response:
    return call(operator, "PATCH", f"{ACCOUNTS}/{account}", json={"status": status})


def call(operator: Operator, method: str, path: str, **options: Any) -> httpx.Response:
    return operator.user._gateway.request(method, path, **options)


def connected(operator: Operator, creator: Creator) -> bool:
    items = operator._simulator.get("/_simulator/creators").json()["items"]
    return bool(next(item["connected"] for item in items if item["open_id"] == creator.open_id))


def reconnected(operator: Operator, creator: Creator) -> str | None:
    try:
        return operator.user.connect(creator)
    except Exception as error:
        if "account_disconnecting" in str(error):
            return None
        raise
