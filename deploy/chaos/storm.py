"""The storm: many posts, faults on every endpoint, replicas and servers killed; then every post is held against the ledger."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from chaos.judge import Broken, Posted, judge, judge_breaking, judge_whole
from chaos.plan import SERVERS, Death, Plan
from chaos.site import ENDS, Mode, Order, Site
from chaos.visitors import Visitors
from demo.api import Creator
from demo.errors import DemoError
from localstack.errors import StackError

LIST_LIMIT = 100
_PAUSE_SECONDS = 0.3
_FETCHED = frozenset({Mode.PULL, Mode.PHOTO})
_ENDS_NO_POST = frozenset({"access_token_invalid", "rate_limit_exceeded", "spam_risk_user_banned_from_posting"})
"""Refusals that are replayed, waited out or held: a post that failed with one was given up wrongly."""


@dataclass
class Report:
    """How a storm ended."""

    posts: list[Posted]
    orders: list[Order]
    broken: list[Broken]
    planned: list[str]
    """The deaths that were to be."""
    deaths: list[str]
    """Those that were."""
    unmet: list[str]
    """The crash points to which nobody came."""
    faults: dict[str, tuple[int, int]]
    """By endpoint: how many calls were to go wrong, and how many did."""
    connected_again: int
    seconds: float
    ledger: list[dict[str, Any]] = field(repr=False, default_factory=list)

    def missed(self) -> list[Broken]:
        """Return what was to be broken and was not."""
        return judge_breaking(planned=self.planned, deaths=self.deaths, unmet=self.unmet, servers=SERVERS, faults=self.faults)

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
        self._connected_again = 0

    def run(self) -> Report:
        """Order everything, break what the plan says, wait for the ends, judge."""
        began = time.monotonic()
        accounts = [self._operator.account() for _ in range(self._plan.accounts)]
        visitors = [self._operator.user.make_creator() for _ in range(self._plan.visitors)]
        creators = [*(creator for _, creator in accounts), *visitors]
        prepared = [self._site.prepare(mode) for _, mode, _ in self._plan.posts]
        self._say(f"{len(accounts)} accounts and {len(prepared)} contents are there after {time.monotonic() - began:.0f} s")
        for number, fault in self._plan.faults:
            self._operator.fault(**fault, open_id=creators[number].open_id)
        before = len(self._operator.events.since(0))
        orders = []
        for (account, mode, due), content in zip(self._plan.posts, prepared, strict=True):
            orders.append(self._site.order(*accounts[account], mode, content, in_seconds=5.0 + due))
        self._say(f"all are ordered after {time.monotonic() - began:.0f} s")
        visits = Visitors(self._site, visitors)
        told = self._until_ended(orders, before, dict(accounts), visits)
        faults = self._happened()
        visited = visits.wait()
        self._operator.restore()
        self._site.settled_of(*creators)
        told |= self._told()
        ledger = self._operator.whole_ledger()
        posts = [self._posted(order, told.get(order.post_id), self._reasons(order, creators)) for order in orders]
        posts += [
            replace(one.posted, reasons=self._reasons(one.order, creators)) for one in visited if one.order and one.posted
        ]
        mine = {creator.open_id for creator in creators}
        broken = judge(posts, [item for item in ledger if item["open_id"] in mine])
        broken += judge_whole(posts, stuck=self._stuck())
        broken += [item for one in visited for item in one.broken]
        orders += [one.order for one in visited if one.order]
        unmet = self._site.crash.armed()
        self._site.crash.disarm()
        for point in unmet:
            self._deaths.remove(Death(0, point=point).name)
        return Report(
            posts, orders, broken, [death.name for death in self._plan.deaths], self._deaths, unmet, faults,
            self._connected_again, time.monotonic() - began, ledger,
        )  # fmt: skip

    def _until_ended(
        self, orders: list[Order], before: int, accounts: dict[str, Creator], visits: Visitors
    ) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + self._seconds
        waiting = list(self._plan.deaths)
        told: dict[str, dict[str, Any]] = {}
        said, last = time.monotonic(), 0
        while time.monotonic() < deadline:
            events = [event for event in self._operator.events.since(before) if ".publisher.publish." in event["type"]]
            if waiting and len(events) >= last + waiting[0].events:
                # What was told since the last death comes from whoever lives: nobody is killed again while it starts.
                death = waiting.pop(0)
                if self._die(death, events):
                    last = len(events)
                else:
                    waiting.append(death)
            told |= self._told()
            self._connect_again(accounts)
            open_ = [order.post_id for order in orders if told.get(order.post_id, {}).get("status") not in ENDS]
            if not open_ and visits.over:
                # Nothing moves any more, so the rest of the deaths would never come.
                return told
            if time.monotonic() - said > 20:
                said = time.monotonic()
                self._say(f"{len(open_)} of {len(orders)} are under way, {len(self._deaths)} deaths so far")
            time.sleep(_PAUSE_SECONDS)
        return told

    def _stuck(self) -> int:
        """Return with how many posts TikTok was told never to come to an end."""
        return sum(fault.get("times", 1) for _, fault in self._plan.faults if fault.get("stuck"))

    def _happened(self) -> dict[str, tuple[int, int]]:
        """Return by endpoint how many calls were to go wrong, and how many did."""
        ordered, left = Counter[str](), Counter[str]()
        for _, fault in self._plan.faults:
            ordered[fault["endpoint"]] += fault.get("times", 1)
        for item in self._operator.faults_left():
            left[item["endpoint"]] += item["times"]
        return {endpoint: (number, number - left[endpoint]) for endpoint, number in sorted(ordered.items())}

    def _connect_again(self, accounts: dict[str, Creator]) -> None:
        """Do what an owner does whose account has expired, for instance because TikTok's answer to a refresh was lost."""
        for account_id in self._operator.expired_accounts():
            if account_id in accounts:
                with suppress(DemoError, httpx.TransportError, ValueError):
                    self._operator.user.connect(accounts[account_id])
                    self._connected_again += 1

    def _die(self, death: Death, events: list[dict[str, Any]]) -> bool:
        """Return whether it happens: not while the one to die is dead already, or that point is armed and nobody has come to it."""
        if death.point:
            if death.point in self._site.crash.armed():
                return False
            self._site.crash.arm(death.point)
            self._deaths.append(death.name)
            return True
        program = death.program or str(events[-1]["data"]["replica"])
        if program not in self._operator.stack.states():
            program = f"{program}-{self._dice.randint(1, self._operator.stack.blueprint.count(program))}"
        try:
            self._operator.stack.kill(program, signal.SIGKILL)
        except StackError:
            # It is on its way back.
            return False
        self._deaths.append(program)
        return True

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

    def _posted(self, order: Order, post: dict[str, Any] | None, reasons: frozenset[str]) -> Posted:
        fields = post or {"status": "", "error_code": None, "publish_id": None}
        return Posted(
            order.post_id, order.creator.open_id, order.title, order.content.sha256, str(fields["status"]),
            fields["error_code"], fields["publish_id"], reasons, is_uploaded=order.mode not in _FETCHED,
        )  # fmt: skip

    def _reasons(self, order: Order, creators: list[Creator]) -> frozenset[str]:
        """Return the codes of the refusals that were ordered for this post's creator."""
        mine = [fault for number, fault in self._plan.faults if creators[number] == order.creator]
        return reasons_of(mine, order.mode)


def reasons_of(faults: Iterable[Mapping[str, Any]], mode: Mode) -> frozenset[str]:
    """Return the codes that a post of this mode may rightly end with, given the faults that were ordered for its creator."""
    faults = tuple(faults)
    codes = {fault["code"] for fault in faults if "code" in fault} - _ENDS_NO_POST
    if mode is Mode.INBOX:
        # A draft has no title by which the ledger could show why it failed.
        codes |= {fault["fail_reason"] for fault in faults if "fail_reason" in fault}
    return frozenset(f"tiktok_{code}" for code in codes)
