"""A user's events live, over two gateways, a broker that restarts, a gateway or analytics that dies: each, and nobody else's."""

import threading
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

from demo.api import Cuepost
from localstack.service_environment import public_url
from localstack.stack import Stack
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

EVENTS = "/api/v1/events"


class Follower:
    """An event source: reads in the background, and after each end connects again behind the last event it saw."""

    def __init__(self, stack: Stack, user: Cuepost, gateways: tuple[str, ...], *, last: str | None = None) -> None:
        self._urls = [f"http://127.0.0.1:{stack.env(name)['HTTP_PORT']}" for name in gateways]
        self._authorization = user._gateway.headers["Authorization"]
        self.ids: set[str] = set()
        self.gaps = 0
        self.opened = 0
        self.last = last
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for("the stream", lambda: self.opened)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._done.wait(0.1):
            with suppress(httpx.HTTPError):
                self._follow(self._urls[self.opened % len(self._urls)])

    def _follow(self, url: str) -> None:
        headers = {"Authorization": self._authorization} | ({} if self.last is None else {"Last-Event-ID": self.last})
        with httpx.stream("GET", url + EVENTS, headers=headers, timeout=20, trust_env=False) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                self._read(line)
                if self._done.is_set():
                    return

    def _read(self, line: str) -> None:
        if line.startswith("retry:"):
            self.opened += 1
        elif line.startswith("id: "):
            self.last = line.removeprefix("id: ")
            self.ids.add(self.last)
        elif line == "event: gap":
            self.gaps += 1


def ids_of(operator: Operator, user_id: str) -> set[str]:
    return {event["id"] for event in list(operator.events._events) if event.get("userid") == user_id}


def changed(operator: Operator, times: int) -> str:
    """Make a draft and change it so often, asking again while a part of the system is away; returns its id."""
    post = accepted(operator, "POST", "/api/v1/posts", {"draft": True, "caption": "0"})
    for number in range(times):
        accepted(operator, "PATCH", f"/api/v1/posts/{post['id']}", {"caption": f"{number + 1}"})
    return str(post["id"])


def accepted(operator: Operator, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    key = {"Idempotency-Key": str(uuid4())}

    def answered() -> httpx.Response | None:
        answer = operator.user._gateway.request(method, path, json=body, headers=key)
        return answer if answer.status_code in {200, 201} else None

    answer: httpx.Response = wait_for(f"{method} {path}", answered)
    return dict(answer.json())


def test_nothing_is_missed_whatever_restarts(operator: Operator) -> None:
    user_id = operator.user.get("/api/v1/auth/me").json()["id"]
    stranger = Cuepost(public_url(operator.stack.blueprint), f"http://127.0.0.1:{operator.stack.ports.simulator}")
    stranger.register()
    with (
        Follower(operator.stack, operator.user, ("gateway-1",)) as steady,
        Follower(operator.stack, operator.user, ("gateway-2", "gateway-1")) as moving,
        Follower(operator.stack, stranger, ("gateway-1",)) as other,
    ):
        posts = [changed(operator, 3)]
        operator.stack.restart("rabbitmq")
        posts.append(changed(operator, 3))
        operator.stack.kill("gateway-2")
        posts.append(changed(operator, 3))
        for post in posts:
            operator.wait_event(post, "scheduler.post.updated", count=3)
        mine = ids_of(operator, user_id)
        assert len(mine) >= 12
        for follower in (steady, moving):
            wait_for("every event", lambda follower=follower: follower.ids >= mine)  # type: ignore[misc]
            assert follower.gaps == 0
        assert moving.opened >= 2
        assert not other.ids & mine


def test_who_comes_back_after_analytics_was_killed_gets_all_of_it_or_is_told_of_a_gap(operator: Operator) -> None:
    """It has the events in hand when it dies; one client comes back while it is away, another one when it is there again."""
    stack, user = operator.stack, operator.user
    user_id = user.get("/api/v1/auth/me").json()["id"]
    with Follower(stack, user, ("gateway-1",)) as seen:
        changed(operator, 1)
        wait_for("an event", lambda: seen.ids)
    before = ids_of(operator, user_id)
    with operator.frozen("analytics-1"):
        in_hand = changed(operator, 5)
        operator.wait_event(in_hand, "scheduler.post.updated", count=5)
        stack.kill("analytics-1")
    with Follower(stack, user, ("gateway-2",), last=seen.last) as early:
        while_away = changed(operator, 3)
        wait_for("analytics", lambda: stack.healthy("analytics-1"))
        with Follower(stack, user, ("gateway-1",), last=seen.last) as late:
            after = changed(operator, 1)
            for post, count in ((in_hand, 5), (while_away, 3), (after, 1)):
                operator.wait_event(post, "scheduler.post.updated", count=count)
            missed = ids_of(operator, user_id) - before
            assert len(missed) >= 12
            wait_for("every event", lambda: late.ids >= missed)
            assert late.gaps == 0
            wait_for("every event, or a gap", lambda: early.gaps or early.ids >= missed)
            live = {event["id"] for event in operator.events.of(after, "scheduler.post.updated")}
            wait_for("it goes on", lambda: early.ids >= live)
