"""The storm: many posts, faults on every endpoint, replicas and servers killed; then every post is held against the ledger."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.judge import Broken, Posted, judge
from chaos.plan import Death, Plan
from chaos.site import ENDS, Mode, Order, Site
from demo.api import Creator
from localstack.errors import StackError

LIST_LIMIT = 100
_PAUSE_SECONDS = 0.3


@dataclass
class Report:
    """How a storm ended."""

    posts: list[Posted]
    orders: list[Order]
    broken: list[Broken]
    deaths: list[str]
    not_armed: list[str]
    seconds: float
    ledger: list[dict[str, Any]] = field(repr=False, default_factory=list)

    def states(self) -> Counter[str]:
        """Count the posts by state, failed ones with their reason."""
        return Counter(f"{post.state} ({post.error_code})" if post.state == "failed" else post.state for post in self.posts)


class Storm:
    """One run of a plan; `seconds` bound the wait for the posts' ends once all are ordered."""

    def __init__(self, site: Site, plan: Plan, seed: int, *, seconds: float, say: Callable[[str], None]) -> None:
        self._site, self._operator, self._plan = site, site.operator, plan
        self._seconds, self._say = seconds, say
        self._dice = random.Random(seed)  # noqa: S311 - not for secrets
        self._deaths: list[str] = []

    def run(self) -> Report:
        """Order everything, break what the plan says, wait for the ends, judge."""
        began = time.monotonic()
        count = 1 + max(account for account, _, _ in self._plan.posts)
        accounts = [self._operator.account() for _ in range(count)]
        prepared = [self._site.prepare(mode) for _, mode, _ in self._plan.posts]
        self._say(f"{count} accounts and {len(prepared)} contents are there after {time.monotonic() - began:.0f} s")
        for account, fault in self._plan.faults:
            whose = {} if account is None else {"open_id": accounts[account][1].open_id}
            self._operator.fault(**fault, **whose)
        before = len(self._operator.events.since(0))
        orders = []
        for (account, mode, due), content in zip(self._plan.posts, prepared, strict=True):
            orders.append(self._site.order(*accounts[account], mode, content, in_seconds=5.0 + due))
        self._say(f"all are ordered after {time.monotonic() - began:.0f} s")
        told = self._until_ended(orders, before)
        self._operator.restore()
        self._site.settled_of(*(creator for _, creator in accounts))
        told |= self._told()
        ledger = self._operator.whole_ledger()
        posts = [self._posted(order, told.get(order.post_id), accounts) for order in orders]
        mine = {creator.open_id for _, creator in accounts}
        broken = judge(posts, [item for item in ledger if item["open_id"] in mine])
        not_armed = self._site.crash.armed()
        self._site.crash.disarm()
        return Report(posts, orders, broken, self._deaths, not_armed, time.monotonic() - began, ledger)

    def _until_ended(self, orders: list[Order], before: int) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + self._seconds
        waiting = list(self._plan.deaths)
        told: dict[str, dict[str, Any]] = {}
        said, last = time.monotonic(), 0
        while time.monotonic() < deadline:
            events = [event for event in self._operator.events.since(before) if ".publisher.publish." in event["type"]]
            if waiting and len(events) >= last + waiting[0].events:
                # What was told since the last death comes from whoever lives: nobody is killed again while it starts.
                self._die(waiting.pop(0), events)
                last = len(events)
            told |= self._told()
            open_ = [order.post_id for order in orders if told.get(order.post_id, {}).get("status") not in ENDS]
            if not open_ and not waiting:
                return told
            if not open_:
                # Nothing moves any more, so the rest of the deaths would never come.
                waiting.clear()
            if time.monotonic() - said > 20:
                said = time.monotonic()
                self._say(f"{len(open_)} of {len(orders)} are under way, {len(self._deaths)} deaths so far")
            time.sleep(_PAUSE_SECONDS)
        return told

    def _die(self, death: Death, events: list[dict[str, Any]]) -> None:
        if death.point:
            self._site.crash.arm(death.point)
            self._deaths.append(death.name)
            return
        program = death.program or str(events[-1]["data"]["replica"])
        if program not in self._operator.stack.states():
            program = f"{program}-{self._dice.randint(1, self._operator.stack.blueprint.count(program))}"
        try:
            self._operator.stack.kill(program, signal.SIGKILL)
        except StackError:
            # It is dead already and on its way back.
            self._deaths.append(f"{program} (was dead)")
            return
        self._deaths.append(program)

    def _told(self) -> dict[str, dict[str, Any]]:
        """Return what the product tells of its posts now, as far as it can be asked."""
        told: dict[str, dict[str, Any]] = {}
        cursor = ""
        with suppress(httpx.TransportError):
            while True:
                path = f"/api/v1/posts?limit={LIST_LIMIT}" + (f"&cursor={cursor}" if cursor else "")
                answer = self._operator.user.get(path)
                if answer.status_code != httpx.codes.OK:
                    break
                page = answer.json()
                told |= {post["id"]: post for post in page["items"]}
                cursor = page["cursor"]
                if not page["has_more"]:
                    break
        return told

    def _posted(self, order: Order, post: dict[str, Any] | None, accounts: list[tuple[str, Creator]]) -> Posted:
        fields = post or {"status": "", "error_code": None, "publish_id": None}
        ordered = {
            f"tiktok_{fault['code']}"
            for account, fault in self._plan.faults
            if "code" in fault and account is not None and accounts[account][1] == order.creator
        }
        if order.mode is Mode.INBOX:
            # A draft has no title by which the ledger could show why it failed.
            ordered |= {
                f"tiktok_{fault['fail_reason']}"
                for account, fault in self._plan.faults
                if "fail_reason" in fault and account is not None and accounts[account][1] == order.creator
            }
        return Posted(
            order.post_id, order.creator.open_id, order.title, order.content.sha256, str(fields["status"]),
            fields["error_code"], fields["publish_id"], frozenset(ordered),
        )  # fmt: skip
