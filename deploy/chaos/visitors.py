"""Visitors of a storm: each connects an account, wants a post stopped that TikTok is fetching, and takes the account away."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from chaos.content import Content
from chaos.judge import Broken, Posted
from chaos.site import ENDS, Mode, Order, Site
from demo.api import Creator
from demo.errors import DemoError
from system.waiting import wait_for

_PAUSE_SECONDS = 0.5
_UNDER_WAY = frozenset({"publishing", "processing"})
_ENDS_TOLD = frozenset({"published", "failed", "unconfirmed", "cancelled"})


@dataclass(frozen=True)
class Visit:
    """How a visit went: the post, how it ended, and the promises that were broken on the way."""

    order: Order | None
    posted: Posted | None
    broken: tuple[Broken, ...]


def connected(site: Site, creator: Creator) -> str:
    """Connect the creator's account as a person does who begins again after every error; returns the account's id."""

    def once() -> str | None:
        with suppress(DemoError, httpx.TransportError, ValueError):
            return site.operator.user.connect(creator)
        return None

    return wait_for("an account to be connected", once, timeout=site.patience, interval=_PAUSE_SECONDS)


class Visitors:
    """The visits of one storm, all at the same time; `wait` ends them."""

    def __init__(self, site: Site, creators: list[Creator]) -> None:
        self._site = site
        contents = [site.content.video() for _ in creators]
        self._pool = ThreadPoolExecutor(max(1, len(creators)), thread_name_prefix="visitor")
        self._visits: list[Future[Visit]] = [
            self._pool.submit(self._visit, creator, content) for creator, content in zip(creators, contents, strict=True)
        ]

    def wait(self) -> list[Visit]:
        """Return how the visits went, once all are over; each step of one has its deadline."""
        visits = [future.result() for future in self._visits]
        self._pool.shutdown()
        return visits

    @property
    def over(self) -> bool:
        """Whether all have left."""
        return all(future.done() for future in self._visits)

    def _visit(self, creator: Creator, content: Content) -> Visit:
        order: Order | None = None
        try:
            account_id = connected(self._site, creator)
            order = self._site.order(account_id, creator, Mode.PULL, (content, None))
            self._stop(order)
            posted = self._ended(order)
            self._leave(account_id, creator)
        except (AssertionError, RuntimeError) as error:
            post_id = order.post_id if order else ""
            return Visit(order, None, (Broken(post_id, f"a visitor got stuck: {error}"),))
        return Visit(order, posted, ())

    def _stop(self, order: Order) -> None:
        """Want the post stopped once TikTok has been told to fetch it; whether that is in time is the product's to say."""
        user = self._site.operator.user

        def is_fetched() -> bool:
            state = self._site.operator.status(order.post_id)
            return state in ENDS or (state in _UNDER_WAY and bool(user.post(order.post_id)["publish_id"]))

        self._until("the post to be fetched", is_fetched)
        self._until_said(f"/api/v1/posts/{order.post_id}")

    def _ended(self, order: Order) -> Posted:
        """Return how the post ended, as its events tell it: one that had ended before it was to be stopped is off the lists."""
        event = wait_for("the visitor's post to end", lambda: self._end(order), timeout=self._site.patience)
        data = event["data"]
        return Posted(
            order.post_id, order.creator.open_id, order.title, order.content.sha256, str(data["status"]),
            data.get("code"), data.get("publish_id"), may_be_cancelled=True,
        )  # fmt: skip

    def _end(self, order: Order) -> dict[str, Any] | None:
        """Return the newest of the events that tell an end."""
        ends = [event for event in self._site.operator.events.about(order.post_id) if _tells_end(event)]
        return max(ends, key=lambda event: str(event["sequence"]), default=None)

    def _leave(self, account_id: str, creator: Creator) -> None:
        """Take the account away and wait until TikTok knows of it."""
        self._until_said(f"/api/v1/accounts/{account_id}")
        self._until("TikTok to be told that the access has ended", lambda: not self._site.operator.is_connected(creator))

    def _until_said(self, path: str) -> None:
        """DELETE until there is an answer of the product's own: 204, or a refusal with its reason."""
        key = uuid4().hex

        def said() -> bool:
            try:
                answer = self._site.operator.user.request("DELETE", path, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                return False
            return answer.status_code != httpx.codes.ACCEPTED and answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR

        self._until(f"DELETE {path} to be answered", said)

    def _until(self, what: str, probe: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._site.patience
        while True:
            with suppress(DemoError, httpx.HTTPError, ValueError):
                if probe():
                    return
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {self._site.patience:.0f} s")
            time.sleep(_PAUSE_SECONDS)


def _tells_end(event: dict[str, Any]) -> bool:
    return any(event["type"] == f"cuepost.scheduler.post.{verb}.v1" for verb in _ENDS_TOLD)
