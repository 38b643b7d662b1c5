"""POST /posts while those who would take it are away: accepted and answered later, or refused with nothing done."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.video import make_video
from system.guides import fits, shortened
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
POSTS = "/api/v1/posts"
SCHEDULERS = ("scheduler-1", "scheduler-2")

Send = Callable[..., httpx.Response]


@pytest.fixture
def send(operator: Operator, tmp_path: Path) -> Send:
    """Return what creates a post, each time the same one."""
    account, _ = operator.account()
    body = {
        "tiktok_account_id": account,
        "media_id": operator.media(make_video(tmp_path / "small.mp4").path),
        "caption": secrets.token_hex(6),
        "privacy_level": "SELF_ONLY",
        "scheduled_time": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }

    def post(**headers: str) -> httpx.Response:
        return operator.user._gateway.post(POSTS, json=body, headers=headers)

    return post


def answer_of(operator: Operator, location: str) -> dict[str, Any]:
    """Wait for the answer of an operation."""

    def done() -> dict[str, Any] | None:
        shown = operator.user.get(location)
        return shown.json().get("answer") if shown.status_code == 200 else None

    return wait_for("the operation's answer", done)


def posts_of(operator: Operator) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = operator.user.get(POSTS).raise_for_status().json()["items"]
    return listed


def test_with_the_schedulers_stopped_it_is_accepted_and_runs_when_they_are_back(operator: Operator, send: Send) -> None:
    for name in SCHEDULERS:
        operator.stack.stop(name)
    answers = [send(**{"Idempotency-Key": "once"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    locations = [answer.headers["location"] for answer in answers]
    pending = operator.user.get(locations[0])
    assert (pending.status_code, pending.json()["status"]) == (200, "pending"), pending.text
    for name in SCHEDULERS:
        operator.stack.start(name)

    told = [answer_of(operator, location) for location in locations]
    assert [answer["status"] for answer in told] == [201, 201]
    (post,) = posts_of(operator)
    assert {answer["body"]["id"] for answer in told} == {post["id"]}
    operation, (shown,) = operator.user.get(locations[0]).json(), shortened("posts.md")
    operation["answer"]["body"] = {name: operation["answer"]["body"][name] for name in shown["answer"]["body"]}
    assert fits(operation, shown), operation
    assert post["status"] == "scheduled"


def test_with_rabbitmq_stopped_it_is_refused_and_nothing_is_half_done(operator: Operator, send: Send) -> None:
    operator.stack.stop("rabbitmq")
    refused = wait_for("the gateway to notice", lambda: answer if (answer := send()).status_code == 503 else None)
    assert refused.json()["code"] == "service_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    operator.stack.start("rabbitmq")
    created = wait_for("the gateway to take posts again", lambda: answer if (answer := send()).status_code == 201 else None)
    assert [post["id"] for post in posts_of(operator)] == [created.json()["id"]]
