"""The same for attempts: orders that come late, twice or against each other; each post is published once all the same."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx

from chaos.site import Finding, Mode, Order, Site
from system.waiting import wait_for

DUE = "scheduler.post.due"
QUEUE = "publisher.post_due"
STARTED = "publisher.publish.started"
STATUS = "/v2/post/publish/status/fetch/"
VOUCHED = {"confirm_not_published": True}
AGAIN = frozenset({"retry_scheduled"})
IS_LIVE = frozenset({"published", "post_not_retryable"})
"""The look before the retry has found it, or whoever looks by itself was first."""
MAYBE_LIVE = IS_LIVE | {"retry_too_early"}
"""Without its `publish_id` nothing but the creator's videos can tell; where they do not, nobody may vouch yet."""


def late_order(site: Site) -> Finding:
    """Deliver `PostDue` of a failed first attempt again, as fresh messages, while the second one sends and after its end."""
    order = _order(site, {"endpoint": "processing", "fail_reason": "frame_rate_check_failed"})
    first = site.operator.wait_event(order.post_id, DUE, timeout=site.patience)
    site.ended(order)
    site.operator.fault("upload", delay=4, open_id=order.creator.open_id)
    answer = site.until_answered(f"/api/v1/posts/{order.post_id}/retry", {})
    site.operator.wait_event(order.post_id, DUE, count=2, timeout=site.patience)
    told = site.operator.deliver_again(QUEUE, first, times=3, new_id=True)
    site.operator.wait_status(order.post_id, "published", timeout=site.patience)
    told += site.operator.deliver_again(QUEUE, first, times=3, new_id=True)
    site.operator.wait_answered(order.post_id, told)
    return _judged(site, "PostDue of attempt 1 after attempt 2", order, answer, right=AGAIN)


def withheld_order(site: Site) -> Finding:
    """Withhold the very message that orders attempt 1 until attempt 2 sends, and give it again after the end; needs short sweeps.

    Attempt 1 itself runs by what the sweep asks when nobody answers, and fails; its owner wants another.
    """
    with site.operator.withheld(QUEUE, f"{DUE}.v1") as held:
        order = _order(site, {"endpoint": "processing", "fail_reason": "frame_rate_check_failed"})
        (first,) = held(1)
    started = site.operator.wait_event(order.post_id, STARTED, timeout=site.patience)
    site.ended(order)
    site.operator.fault("upload", delay=4, open_id=order.creator.open_id)
    answer = site.until_answered(f"/api/v1/posts/{order.post_id}/retry", {})
    second = site.operator.wait_event(order.post_id, STARTED, count=2, timeout=site.patience)
    site.operator.wait_answered(order.post_id, site.operator.deliver_again(QUEUE, first, times=1))
    site.operator.wait_status(order.post_id, "published", timeout=site.patience)
    site.operator.wait_answered(order.post_id, site.operator.deliver_again(QUEUE, first, times=1, new_id=True))
    site.ended(order)
    site.settled(order)
    runs = [event["data"]["attempt"] for event in site.operator.events.of(order.post_id, STARTED)]
    also = [] if runs == [1, 2] else [f"began as attempts {runs}"]
    also += wrong_answers(AGAIN, answer)
    if first["id"] in {started["causationid"], second["causationid"]}:
        also.append("attempt 1 ran by the message that was withheld")
    return site.finding(f"own PostDue of attempt 1 withheld until attempt 2 sends ({said(answer)})", order, also=also)


def swept(site: Site) -> Finding:
    """Let the sweep emit `PostDue` of an attempt again and again while it is under way; needs short sweeps."""
    order = _order(site, {"endpoint": "upload", "delay": 20})
    again = wait_for("two sweeps", lambda: _again(site, order), timeout=site.patience)
    attempts = {event["data"]["attempt"] for event in again}
    site.ended(order)
    site.settled(order)
    also = [] if attempts == {1} else [f"swept as other attempts: {attempts}"]
    return site.finding("the sweep re-emits PostDue", order, also=also)


def delivered_again(site: Site) -> Finding:
    """Put what the sweep would emit into the queue, while the attempt is under way and after its end, many times."""
    order = _order(site, {"endpoint": "upload", "delay": 4})
    due = site.operator.wait_event(order.post_id, DUE, timeout=site.patience)
    site.operator.wait_event(order.post_id, STARTED, timeout=site.patience)
    told = site.operator.deliver_again(QUEUE, due, times=5, new_id=True)
    site.ended(order)
    told += site.operator.deliver_again(QUEUE, due, times=5, new_id=True)
    site.operator.wait_answered(order.post_id, told)
    site.settled(order)
    return site.finding("PostDue again and again", order)


def live_after_all(site: Site) -> Finding:
    """Retry a post that TikTok has published and refused to tell of, so that it is unconfirmed."""
    order = _unconfirmed(site)
    site.operator.clear_faults()
    answer = site.until_answered(f"/api/v1/posts/{order.post_id}/retry", VOUCHED)
    return _judged(site, "/retry of an unconfirmed post that is live", order, answer, right=IS_LIVE)


def pulled_after_all(site: Site) -> Finding:
    """Retry a pull that is live although its init was never answered, at the word of an owner who has not seen it."""
    site.crash.arm("after_init_answer")
    order = _order(site, {"endpoint": "webhook", "drop": True, "times": 20}, mode=Mode.PULL)
    site.ended(order)
    site.settled(order)
    answer = site.until_answered(f"/api/v1/posts/{order.post_id}/retry", VOUCHED)
    return _judged(site, "/retry of a pull without answer that is live", order, answer, right=MAYBE_LIVE)


def raced(site: Site) -> Finding:
    """Let the webhook that tells the truth come in the very moment in which the owner wants another attempt."""
    order = _unconfirmed(site)
    (item,) = site.operator.ledger(order.creator)
    site.operator.clear_faults()
    content = {"publish_id": item["publish_id"], "publish_type": "DIRECT_PUBLISH"}
    retry = partial(site.until_answered, f"/api/v1/posts/{order.post_id}/retry", VOUCHED)
    with ThreadPoolExecutor(4) as pool:
        tells = [pool.submit(site.operator.tell, order.creator, "post.publish.complete", content) for _ in range(2)]
        retries = [pool.submit(retry) for _ in range(2)]
        answers = [future.result() for future in retries]
        for future in tells:
            future.result()
    return _judged(site, "/retry racing a late webhook", order, *answers, right=IS_LIVE)


def strayed(site: Site) -> Finding:
    """Vouch for a pull whose init a paused replica has still to send: too early to know, and that init is the only one."""
    site.crash.arm("stop:init_checked")
    order = _order(site, mode=Mode.PULL)
    replica = wait_for("a replica to stop", lambda: site.operator.stopped("publisher"), timeout=site.patience)
    try:
        site.ended(order)
        answer = site.until_answered(f"/api/v1/posts/{order.post_id}/retry", VOUCHED)
    finally:
        site.operator.resume(replica)
    wait_for("the stray init", lambda: site.operator.ledger(order.creator), timeout=site.patience)
    return _judged(site, "/retry of a pull whose init strays", order, answer, right=frozenset({"retry_too_early"}))


TRIALS: Mapping[str, Callable[[Site], Finding]] = {
    "late_order": late_order,
    "withheld_order": withheld_order,
    "delivered_again": delivered_again,
    "swept": swept,
    "live_after_all": live_after_all,
    "pulled_after_all": pulled_after_all,
    "raced": raced,
    "strayed": strayed,
}


def _order(site: Site, fault: dict[str, object] | None = None, mode: Mode = Mode.FILE) -> Order:
    account, creator = site.operator.account()
    prepared = site.prepare(mode)
    if fault is not None:
        site.operator.fault(
            str(fault["endpoint"]), **{k: v for k, v in fault.items() if k != "endpoint"}, open_id=creator.open_id
        )
    return site.order(account, creator, mode, prepared)


def _unconfirmed(site: Site) -> Order:
    """Return a post that is live while TikTok refuses to tell and sends no webhook; needs no patience with refusals."""
    order = _order(site, {"endpoint": "webhook", "drop": True, "times": 20})
    refusal = {"code": "invalid_publish_id", "status": 400, "times": 1000}
    site.operator.fault(STATUS, **refusal, open_id=order.creator.open_id)
    site.operator.wait_status(order.post_id, "unconfirmed", timeout=site.patience)
    site.settled(order)
    return order


def _judged(site: Site, name: str, order: Order, *answers: httpx.Response, right: frozenset[str]) -> Finding:
    """Judge the answers, and the post once nothing moves any more; what was answered stands in the table."""
    site.ended(order)
    site.settled(order)
    told = ", ".join(said(answer) for answer in answers)
    return site.finding(f"{name} ({told})", order, also=wrong_answers(right, *answers))


def said(answer: httpx.Response) -> str:
    """Return what `/retry` said in one word: the code of its refusal, else the state that the post has by it."""
    body = answer.json()
    return str(body.get("status") if answer.is_success else body.get("code"))


def wrong_answers(right: frozenset[str], *answers: httpx.Response) -> list[str]:
    """Return a broken promise for each answer that is none of those that are true there."""
    return [f"/retry was answered with {said(answer)}" for answer in answers if said(answer) not in right]


def _again(site: Site, order: Order) -> list[dict[str, Any]] | None:
    events = site.operator.events.of(order.post_id, DUE)
    return events if len(events) >= 3 else None
