"""The crash matrix: the publisher dies, hangs or loses an answer at each point of each way of publishing; the others finish."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaos.judge import DONE, OPEN
from chaos.site import Finding, Mode, Order, Site
from system.waiting import wait_for

INIT = "/v2/post/publish/video/init/"
CONTENT_INIT = "/v2/post/publish/content/init/"


@dataclass(frozen=True)
class Row:
    """A point, the way of publishing, and the states that are true there; what breaks is a crash point, faults, or a `break_`."""

    mode: Mode
    point: str
    states: frozenset[str] = DONE
    crash: bool = True
    faults: tuple[dict[str, Any], ...] = ()
    breaks: Callable[[Site, Order], None] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.mode}: {self.point}"


def hang(site: Site, order: Order) -> None:
    """Stop the replica in the middle of a chunk (SIGSTOP) until others have finished, then let it go on."""
    replica = _sending(site, order)
    with site.operator.frozen(replica):
        site.ended(order)
    wait_for("the replica to go on", lambda: site.operator.stack.healthy(replica), timeout=site.patience)


def hang_shortly(site: Site, order: Order) -> None:
    """Stop the replica for most of its lease, then let it go on."""
    with site.operator.frozen(_sending(site, order)):
        time.sleep(site.lease * 0.8)


def stray(site: Site, order: Order) -> None:
    """Let others finish what a replica has in hand that stopped between the check of its lease and the call, then let it go on."""
    replica = wait_for("a replica to stop", lambda: site.operator.stopped("publisher"), timeout=site.patience)
    try:
        site.ended(order)
    finally:
        site.operator.resume(replica)
    wait_for("the replica to go on", lambda: site.operator.stack.healthy(replica), timeout=site.patience)


def lease_ends(site: Site, order: Order) -> None:
    """Let nobody renew the lease of what a replica sends, until that one has died where the lease is nearly over, or stopped."""
    wait_for("the chunk that waits", lambda: not site.operator.faults_left(), timeout=site.patience, interval=0.02)
    with site.operator.jobs_locked(order.post_id):
        wait_for("the lease to be nearly over", lambda: not site.crash.armed(), timeout=site.patience, interval=0.02)


def stray_of_lease(site: Site, order: Order) -> None:
    """Let the replica that stopped there go on when others have finished."""
    lease_ends(site, order)
    stray(site, order)


def until_taken(site: Site, order: Order) -> None:
    """Let TikTok take an init of which the publisher has given up to hear."""
    wait_for("the init to be taken", lambda: site.operator.ledger(order.creator), timeout=site.patience, interval=0.2)


def _sending(site: Site, order: Order) -> str:
    started = site.operator.wait_event(order.post_id, "publisher.publish.started", timeout=site.patience)

    def is_receiving() -> bool:
        return any(item["receiving"] or item["bytes"] for item in site.operator.ledger(order.creator))

    wait_for("bytes on their way", is_receiving, timeout=site.patience, interval=0.02)
    return str(started["data"]["replica"])


UNKNOWN = DONE | {OPEN}
SHORT_DELAY = {"endpoint": "upload", "delay": 6}
LONG_DELAY = {"endpoint": "upload", "delay": 120}
OUT_OF_TIME = 20
"""Seconds: longer than an answer of TikTok's is waited for."""
OF_INITS: tuple[tuple[str, dict[str, Any], frozenset[str], Callable[[Site, Order], None] | None], ...] = (
    ("answer of the init lost", {"lost_answer": True}, UNKNOWN, None),
    ("init answered 500", {"status": 500}, UNKNOWN, None),
    ("init answered late", {"delay": 5, "delay_at": "answer"}, DONE, None),
    ("init not answered in time", {"delay": OUT_OF_TIME, "delay_at": "answer"}, UNKNOWN, None),
    ("init taken when nobody waits any more", {"delay": OUT_OF_TIME, "delay_at": "body"}, UNKNOWN, until_taken),
)
"""What may become of an init that publishes by itself."""

ROWS = (
    *(
        Row(Mode.FILE, point)
        for point in (
            "after_init_intent",
            "after_init_answer",
            "before_chunk:0",
            "mid_chunk:0",
            "after_last_chunk",
            "while_polling",
        )
    ),
    *(Row(Mode.LARGE, point) for point in ("before_chunk:3", "mid_chunk:3", "mid_chunk:5")),
    *(Row(Mode.INBOX, point) for point in ("after_init_answer", "after_last_chunk")),
    *(Row(Mode.SOURCE, point) for point in ("mid_fetch", "after_fetch", "after_fetch_stored", "after_init_answer")),
    *(Row(mode, point, UNKNOWN) for mode in (Mode.PULL, Mode.PHOTO) for point in ("after_init_intent", "after_init_answer")),
    # By then the publish_id is stored, so that whoever goes on can ask.
    *(Row(mode, "while_polling") for mode in (Mode.PULL, Mode.PHOTO)),
    Row(Mode.FILE, "answer of the init lost", crash=False, faults=({"endpoint": INIT, "lost_answer": True},)),
    Row(Mode.FILE, "init answered 500", crash=False, faults=({"endpoint": INIT, "status": 500},)),
    Row(Mode.FILE, "answer of the last chunk lost", crash=False, faults=({"endpoint": "upload", "lost_answer": True},)),
    Row(
        Mode.FILE,
        "answer of the last chunk lost, its address over",
        crash=False,
        faults=(
            {"endpoint": "upload", "lost_answer": True},
            {"endpoint": "upload", "status": 403},
            {"endpoint": "processing", "delay": 12},
        ),
    ),
    Row(
        Mode.FILE,
        "connection lost in a chunk",
        crash=False,
        faults=({"endpoint": "upload", "drop": True, "delay_at": "body"},),
    ),
    *(
        Row(mode, point, states, crash=False, faults=({"endpoint": init, **fault},), breaks=breaks)
        for mode, init in ((Mode.PULL, INIT), (Mode.PHOTO, CONTENT_INIT))
        for point, fault, states, breaks in OF_INITS
    ),
    *(
        Row(mode, f"stop:{point}", states, breaks=stray)
        for mode, point, states in (
            (Mode.FILE, "init_checked", DONE),
            (Mode.FILE, "piece_checked:0", DONE),
            (Mode.LARGE, "piece_checked:3", DONE),
            (Mode.PULL, "init_checked", UNKNOWN),
            (Mode.PHOTO, "init_checked", UNKNOWN),
        )
    ),
    Row(Mode.FILE, "lease_nearly_over", faults=(LONG_DELAY,), breaks=lease_ends),
    Row(Mode.FILE, "stop:lease_nearly_over", faults=(LONG_DELAY,), breaks=stray_of_lease),
    Row(Mode.FILE, "hangs beyond its lease", crash=False, faults=(SHORT_DELAY,), breaks=hang),
    Row(Mode.FILE, "hangs within its lease", crash=False, faults=(SHORT_DELAY,), breaks=hang_shortly),
)


def run_row(site: Site, row: Row) -> Finding:
    """Break one post at the row's point and judge it."""
    account, creator = site.operator.account()
    prepared = site.prepare(row.mode)
    for fault in row.faults:
        site.operator.fault(**fault, open_id=creator.open_id)
    if row.crash:
        site.crash.arm(row.point)
    order = site.order(account, creator, row.mode, prepared)
    if row.breaks is not None:
        row.breaks(site, order)
    site.ended(order)
    site.settled(order)
    also = [f"nobody came to {point}" for point in site.crash.armed()]
    site.crash.disarm()
    finding = site.finding(row.name, order, also=also)
    if finding.state not in row.states:
        return site.finding(row.name, order, also=[*also, f"{finding.state} is not among {', '.join(sorted(row.states))}"])
    return finding
