"""What every trial works with: the stack's operator, media, crash points; and how a post is ordered, watched and judged."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

import httpx

from chaos.content import LARGE, SMALL, Content, ContentMaker
from chaos.crash_folder import CrashFolder
from chaos.judge import Broken, Posted, count, judge
from demo.api import Creator
from system.operator import FINAL, Operator
from system.waiting import wait_for

ENDS = FINAL | {"sent_to_inbox"}
_TIKTOK_ENDS = {"PUBLISH_COMPLETE", "SEND_TO_USER_INBOX", "FAILED"}
_PAUSE_SECONDS = 0.5


class Mode(StrEnum):
    """The ways of publishing."""

    FILE = "file"
    LARGE = "large file"
    INBOX = "draft"
    SOURCE = "address"
    PULL = "pull"
    PHOTO = "photo"


@dataclass(frozen=True)
class Order:
    """A post that was ordered."""

    post_id: str
    account_id: str
    creator: Creator
    mode: Mode
    title: str
    content: Content


@dataclass(frozen=True)
class Finding:
    """How a trial ended, as a line of its table."""

    name: str
    replicas: str
    ledger: str
    publications: int
    state: str
    broken: tuple[Broken, ...] = ()
    order: Order | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Site:
    """One running stack and what is used to break it; `patience` in seconds bounds each wait, `lease` is the publishers' lease."""

    operator: Operator
    content: ContentMaker
    crash: CrashFolder
    address: str
    lease: float = 3.0
    patience: float = 120.0

    def prepare(self, mode: Mode) -> tuple[Content, str | None]:
        """Make the content of a post and upload it where it is a file; returns it and the media id."""
        content = self.content.photo() if mode is Mode.PHOTO else self.content.video(LARGE if mode is Mode.LARGE else SMALL)
        uploaded = mode in {Mode.FILE, Mode.LARGE, Mode.INBOX}
        return content, self.operator.media(content.path) if uploaded else None

    def order(
        self, account_id: str, creator: Creator, mode: Mode, prepared: tuple[Content, str | None], *, in_seconds: float = 1.0
    ) -> Order:
        """Schedule a post, as a client that repeats its request under one key until it is answered."""
        content, media_id = prepared
        title = f"chaos {uuid4().hex[:12]}"
        body: dict[str, Any] = {
            "tiktok_account_id": account_id,
            "caption": title,
            "privacy_level": "PUBLIC_TO_EVERYONE",
            "scheduled_time": (datetime.now(UTC) + timedelta(seconds=in_seconds)).isoformat(),
            **self._source(mode, content, media_id, title),
        }
        answer = self.until_answered("/api/v1/posts", body)
        if answer.status_code != httpx.codes.CREATED:
            raise RuntimeError(f"the post was not accepted: {answer.status_code} {answer.text[:300]}")
        sent_title = "" if mode is Mode.INBOX else title
        return Order(str(answer.json()["id"]), account_id, creator, mode, sent_title, content)

    def until_answered(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """POST until there is an answer of the product's own: not 202 (`pending`), 429, 5xx or none."""
        deadline, key = time.monotonic() + self.patience, uuid4().hex
        while True:
            try:
                answer = self.operator.user.request("POST", path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                answer = httpx.Response(503)
            is_pending = answer.status_code == httpx.codes.ACCEPTED and "/operations/" in answer.headers.get("Location", "")
            if not is_pending and answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
            if time.monotonic() > deadline:
                raise RuntimeError(f"POST {path}: no answer within {self.patience:.0f} s; last {answer.status_code}")
            time.sleep(_PAUSE_SECONDS)

    def ended(self, order: Order) -> None:
        """Wait until the post has ended; a post that does not is the judge's to tell."""
        self._wait(lambda: self.operator.status(order.post_id) in ENDS, self.patience)

    def settled(self, order: Order) -> None:
        """Wait until TikTok has made up its mind about everything of the creator that has bytes."""
        self.settled_of(order.creator)

    def settled_of(self, *creators: Creator, timeout: float = 30.0) -> None:
        """Wait, at most so many seconds, until TikTok has made up its mind about these creators' posts."""
        whose = {creator.open_id for creator in creators}

        def is_settled() -> bool:
            return all(_is_settled(item) for item in self.operator.whole_ledger() if item["open_id"] in whose)

        self._wait(is_settled, timeout)

    def finding(self, name: str, order: Order, *, also: Iterable[str] = ()) -> Finding:
        """Judge a post that should have ended; `also` are broken promises that the trial itself saw."""
        ledger = self.operator.ledger(order.creator)
        posted = self.posted(order)
        broken = (*judge([posted], ledger), *(Broken(order.post_id, text) for text in also))
        entries = ", ".join(str(item["status"]) for item in ledger) or "none"
        return Finding(
            name, self.replicas(order), f"{len(ledger)} ({entries})", count(posted, ledger), posted.state, broken, order
        )

    def posted(self, order: Order, reasons: frozenset[str] = frozenset()) -> Posted:
        """Return the post as the product tells it now."""
        post = self.operator.user.post(order.post_id)
        return Posted(
            order.post_id, order.creator.open_id, order.title, order.content.sha256, str(post["status"]),
            post["error_code"], post["publish_id"], reasons,
        )  # fmt: skip

    def replicas(self, order: Order) -> str:
        """Return the replicas that told of the post, in order."""
        told = [event for event in self.operator.events.about(order.post_id) if ".publisher.publish." in event["type"]]
        return " > ".join(dict.fromkeys(str(event["data"]["replica"]) for event in told))

    def _source(self, mode: Mode, content: Content, media_id: str | None, title: str) -> dict[str, Any]:
        url = f"{self.address}/{content.path.name}"
        match mode:
            case Mode.INBOX:
                return {"media_id": media_id, "mode": "inbox", "privacy_level": None}
            case Mode.SOURCE:
                return {"source_url": url}
            case Mode.PULL:
                return {"source_url": url, "transfer": "pull"}
            case Mode.PHOTO:
                return {"photo_urls": [url], "photo_title": title}
            case _:
                return {"media_id": media_id}

    def _wait(self, probe: Callable[[], bool], timeout: float) -> None:
        """Wait, and say nothing when it takes too long: the judge will."""
        with suppress(AssertionError):
            wait_for("the end", probe, timeout=timeout, interval=0.1)


def _is_settled(item: dict[str, Any]) -> bool:
    return item["status"] in _TIKTOK_ENDS or (item["sha256"] is None and item["source"] == "FILE_UPLOAD")
