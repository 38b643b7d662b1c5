"""The judge: what the product says of its posts, held against what TikTok's stand-in has in its ledger. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiktok_simulator.paths import CANCEL, VIDEO_QUERY

DONE = frozenset({"published", "sent_to_inbox"})
OPEN = "unconfirmed"
FAILED = "failed"

SELDOM = frozenset({CANCEL, VIDEO_QUERY})
"""Calls to which few posts lead, or none: only when somebody wants a pull stopped in time, or a lost init is looked for."""
DONE_SHARE = 0.8
DONE_SLACK = 4
"""Of 200 posts, storms that went well had 170 to 187 published; a dozen posts have as many faults as many, so some are let off."""
UNKNOWN_SHARE = 0.03
UNKNOWN_SLACK = 1
"""Of 200 posts, storms that went well had 3 to 10 without an outcome, most of them fetched by TikTok: their init was lost."""


@dataclass(frozen=True)
class Posted:
    """A post as it was ordered, and how it ended: `state` is empty when the product does not know it any more.

    `sha256` is what TikTok must have got; it differs from post to post. `reasons` are the codes it may rightly fail with, besides
    those that the ledger itself shows; `may_be_cancelled`: its owner wanted it stopped. `is_uploaded`: Cuepost sent its bytes, so
    that TikTok can be asked what became of it.
    """

    post_id: str
    open_id: str
    title: str
    sha256: str
    state: str
    error_code: str | None = None
    publish_id: str | None = None
    reasons: frozenset[str] = frozenset()
    may_be_cancelled: bool = False
    is_uploaded: bool = False


@dataclass(frozen=True)
class Broken:
    """A promise that was not kept; `post_id` is empty for a publication that belongs to no post."""

    post_id: str
    promise: str


def publications(ledger: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the items whose bytes are all in and that TikTok did not refuse."""
    return [item for item in ledger if item["sha256"] is not None and item["status"] != "FAILED"]


def judge(posts: Sequence[Posted], ledger: Sequence[Mapping[str, Any]]) -> list[Broken]:
    """Return every promise that was broken: a loss, a double, wrong bytes, an end that is not true, no end at all."""
    live = publications(ledger)
    broken = [Broken(post.post_id, text) for post in posts for text in _of_post(post, _of(post, live), ledger)]
    wanted = {(post.open_id, post.sha256) for post in posts}
    by_title = {(post.open_id, post.title): post.post_id for post in posts}
    for item in live:
        if (item["open_id"], item["sha256"]) not in wanted:
            owner = by_title.get((item["open_id"], item["title"]), "")
            broken.append(Broken(owner, f"publication {item['publish_id']} has bytes that nobody ordered: {item['sha256']}"))
    return broken


def judge_whole(posts: Iterable[Posted], *, stuck: int) -> list[Broken]:
    """Return what no storm may be as a whole, each post true as it may be: few posts out, or many files of unknown outcome.

    `stuck` is with how many posts TikTok was told never to come to an end. Posts that their owners wanted stopped do not count.
    """
    ordered = [post for post in posts if not post.may_be_cancelled]
    uploaded = [post for post in ordered if post.is_uploaded]
    done = sum(post.state in DONE for post in ordered)
    unknown = sum(post.state == OPEN for post in uploaded)
    least = max(0, math.ceil(DONE_SHARE * len(ordered) - DONE_SLACK))
    most = stuck + UNKNOWN_SLACK + math.floor(UNKNOWN_SHARE * len(uploaded))
    broken = []
    if done < least:
        broken.append(Broken("", f"only {done} of {len(ordered)} posts were published, not {least}"))
    if unknown > most:
        broken.append(Broken("", f"{unknown} of {len(uploaded)} uploaded files are unconfirmed, more than {most}"))
    return broken


def judge_breaking(
    *,
    planned: Sequence[str],
    deaths: Sequence[str],
    unmet: Sequence[str],
    servers: Iterable[str],
    faults: Mapping[str, tuple[int, int]],
) -> list[Broken]:
    """Return what a storm was to break and did not: whatever the posts came to, it has shown less than it says.

    `planned` and `deaths` are the names of the deaths that were to be and of those that were, `unmet` the crash points to which
    nobody came; each of `servers` that was to die has to. `faults` are by endpoint how many calls were to go wrong, and did.
    """
    broken = [
        Broken("", f"{server} was to be killed and never was")
        for server in servers
        if server in planned and server not in deaths
    ]
    if len(deaths) < len(planned):
        reason = f": nobody came to {', '.join(unmet)}" if unmet else ""
        broken.append(Broken("", f"only {len(deaths)} of {len(planned)} deaths happened{reason}"))
    for endpoint, (ordered, happened) in faults.items():
        if ordered and not happened and endpoint not in SELDOM:
            broken.append(Broken("", f"{endpoint}: none of {ordered} calls went wrong that were to"))
    return broken


def count(post: Posted, ledger: Iterable[Mapping[str, Any]]) -> int:
    """Return how many publications of a post there are."""
    return len(_of(post, publications(ledger)))


def _of(post: Posted, live: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [item for item in live if item["open_id"] == post.open_id and item["sha256"] == post.sha256]


def _of_post(post: Posted, mine: Sequence[Mapping[str, Any]], ledger: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    if len(mine) > 1:
        yield f"published {len(mine)} times"
    match post.state:
        case state if state in DONE:
            yield from _of_done(post, mine)
        case state if state == OPEN:
            return
        case "failed":
            yield from _of_failed(post, mine, ledger)
        case "cancelled" if post.may_be_cancelled:
            if mine:
                yield "cancelled, but it is live"
        case "":
            yield "lost: the product does not know it any more"
        case state:
            yield f"did not end: {state}"


def _of_done(post: Posted, mine: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not mine:
        yield f"{post.state}, but the ledger has no publication of these bytes"
    elif post.publish_id is not None and post.publish_id not in {item["publish_id"] for item in mine}:
        yield f"tells another publication than the ledger: {post.publish_id}"


def _of_failed(post: Posted, mine: Sequence[Mapping[str, Any]], ledger: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    if mine:
        yield "failed, but it is live"
    refused = {
        f"tiktok_{item['fail_reason']}"
        for item in ledger
        if item["open_id"] == post.open_id
        and item["status"] == "FAILED"
        and (item["publish_id"] == post.publish_id or (post.title and item["title"] == post.title))
    }
    if post.error_code not in refused | post.reasons:
        yield f"failed with a reason that is not true: {post.error_code}"
