"""Create many posts at once: a verdict for each row, all or nothing or what is valid, or only the verdicts."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.contracts.envelope import Envelope
from common.contracts.scheduler import CreatePosts, PostFields
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.domain.finding import Finding
from scheduler.encoding import finding_json, post_json, warning_json
from scheduler.usecases.create_post import owner, store_posts
from scheduler.usecases.judge_posts import Candidate, Judged, judge_posts
from scheduler.usecases.surroundings import Surveyor
from scheduler.usecases.waker import Waker
from scheduler.usecases.wanted_post import WantedPost, want_post


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows that can be read as posts, by row number, ready to be judged."""

    candidates: Mapping[int, Candidate]


async def prepare_posts(
    surveyor: Surveyor, command: CreatePosts, user_id: UUID, *, now: datetime, allowed_hosts: AbstractSet[str]
) -> Batch:
    """Read the rows and look around for all of them together. Raises Problem 503 as `Surveyor.look_around`."""
    wanted: dict[int, WantedPost] = {
        row.row: want_post(PostFields.model_validate(row.post.given), now=now, allowed_hosts=allowed_hosts)
        for row in command.rows
        if row.post is not None
    }
    around = await surveyor.look_around(list(wanted.values()), user_id)
    return Batch({number: Candidate(post, found) for (number, post), found in zip(wanted.items(), around, strict=True)})


async def create_posts(
    tx: Transaction, outbox: Outbox, waker: Waker, command: CreatePosts, batch: Batch, envelope: Envelope
) -> dict[str, Any]:
    """Store what the mode allows, in one transaction, and return the verdicts of all rows in their order.

    `all_or_nothing` stores nothing when a row breaks a rule; `valid_rows` stores the others. `dry_run` stores nothing. Each row is
    `created`, `valid` (it would be), or `invalid` with its problems.
    """
    numbers = list(batch.candidates)
    judged = await judge_posts(tx, list(batch.candidates.values()), owner(envelope), lock=not command.dry_run)
    verdicts = dict(zip(numbers, judged, strict=True))
    valid = {number: one for number, one in verdicts.items() if not one.findings}
    is_stopped = command.mode == "all_or_nothing" and len(valid) < len(command.rows)
    stored: dict[int, dict[str, Any]] = {}
    if valid and not command.dry_run and not is_stopped:
        posts = await store_posts(tx, outbox, waker, list(valid.values()), envelope)
        stored = {number: post_json(post) for number, post in zip(valid, posts, strict=True)}
    items = [_verdict(row.row, [problem.model_dump() for problem in row.problems], verdicts, stored) for row in command.rows]
    return {
        "mode": command.mode,
        "dry_run": command.dry_run,
        "total": len(items),
        "created": len(stored),
        "valid": len(valid),
        "invalid": len(items) - len(valid),
        "items": items,
    }


def _verdict(
    number: int, unread: Sequence[dict[str, Any]], verdicts: Mapping[int, Judged], stored: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    findings: Sequence[Finding] = verdicts[number].findings if number in verdicts else ()
    warnings: Sequence[Finding] = verdicts[number].shown_warnings if number in verdicts else ()
    problems = [_shown(problem) for problem in unread] + [finding_json(finding) for finding in findings]
    return {
        "row": number,
        "status": "created" if number in stored else "invalid" if problems else "valid",
        "post": stored.get(number),
        "problems": problems,
        "warnings": [warning_json(finding) for finding in warnings],
    }


def _shown(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "alternatives" or value}
