"""Check posts again shortly before their time: what would fail then shows now, as warnings and an event."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic import ValidationError

from common.contracts.scheduler import PostUpdated
from common.database.database import Database
from common.errors import Problem
from common.messaging.outbox import Outbox
from scheduler.clients.accounts import AccountsClient, FoundAccount
from scheduler.clients.object_storage import ObjectStorage
from scheduler.domain.finding import Finding
from scheduler.domain.media import Media
from scheduler.domain.post import Post
from scheduler.domain.readiness import Readiness, problems_before_due
from scheduler.encoding import warning_json
from scheduler.storage.accounts import find_accounts, note_behind, save_account
from scheduler.storage.clock import database_now
from scheduler.storage.posts import change_post, lock_post
from scheduler.storage.preflight import PreflightLimits, count_never_looked_at, look_again, note_checked, take_unchecked
from scheduler.usecases.answers import Question, answers_in_time
from scheduler.usecases.judge_posts import PRIVACY_UNCHECKED, Candidate, Judged, judge_posts
from scheduler.usecases.post_due_event import broken_fields
from scheduler.usecases.post_events import own_context, wrap_event
from scheduler.usecases.surroundings import Surroundings, Surveyor
from scheduler.usecases.wanted_post import WantedPost, want_change

ASK_SECONDS = 10.0
"""How long a batch waits for its accounts together; what was not answered is asked again later."""
STORAGE_SECONDS = 4.0
USER_SECONDS = 8.0
"""How long one user's posts may take: whoever never answers leaves the place to the next."""
JUDGE_SECONDS = 25.0
"""How long all users of a batch may take: with the time for asking less than the loop gives a step."""
CREATOR_PATIENCE_S = 5.0
"""Longer than creation waits: nobody does here."""
UNREADABLE = Finding(
    "id",
    "post_unreadable",
    "The post is stored in a way that cannot be read; it would fail at its time.",
    "Create it anew and delete this one.",
)

_log = structlog.get_logger(__name__)

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a post; not `complete` when something could not be found out."""

    post: Post
    findings: tuple[Finding, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class ChecksBeforeDue:
    """Any number of replicas may make them; no row is locked while others are asked."""

    database: Database
    outbox: Outbox
    surveyor: Surveyor
    accounts: AccountsClient
    storage: ObjectStorage
    allowed_hosts: frozenset[str]
    limits: PreflightLimits

    async def check_batch(self) -> int:
        """Check one batch of posts that are due soon and note what was found; returns how many were taken.

        Users are judged side by side, a few at a time and each within limits: one who cannot be judged, whose neighbour hangs, or
        whose rows cannot be read takes nothing from the others, and is looked at again later.
        """
        async with self.database.transaction() as tx:
            taken = await take_unchecked(tx.connection, self.limits)
            now = await database_now(tx.connection)
        if not taken:
            return 0
        accounts = await self._look_up(taken)
        by_user: dict[UUID, list[Post]] = defaultdict(list)
        for post in taken:
            by_user[post.user_id].append(post)

        async def check(posts: Sequence[Post]) -> None:
            async with asyncio.timeout(USER_SECONDS):
                await self._note(await self._judged(posts, accounts, now))

        ended = await self._ask({user_id: partial(check, posts) for user_id, posts in by_user.items()}, JUDGE_SECONDS)
        late = [post for user_id, posts in by_user.items() if user_id not in ended for post in posts]
        if late:
            _log.warning("checks_before_due_took_too_long", users=len(by_user) - len(ended), posts=len(late))
            await self._note([Verdict(post, (), complete=False) for post in late])
        return len(taken)

    async def count_waiting(self) -> int:
        """Return how many posts that are due soon wait for their first look."""
        async with self.database.read() as connection:
            return await count_never_looked_at(connection, self.limits)

    async def _look_up(self, posts: Collection[Post]) -> dict[UUID, FoundAccount | None]:
        """Return the posts' accounts as they are now (None: there is none), and bring the own copies up to date."""
        owners = {post.account_id: post.user_id for post in posts if post.account_id is not None}
        found = await self._ask({id_: partial(self._account, user_id, id_) for id_, user_id in owners.items()}, ASK_SECONDS)
        async with self.database.read() as connection:
            known = await find_accounts(connection, owners, lock=False)
        for account in filter(None, found.values()):
            if known.get(account.copy.id) == account.copy and account.copy.hold_reason is None:
                continue
            async with self.database.transaction() as tx:
                if await save_account(tx.connection, account.copy) and account.copy.hold_reason is not None:
                    # News that did not arrive: the loop that follows accounts holds their posts.
                    await note_behind(tx.connection, account.copy.id, behind=True)
        return found

    async def _account(self, user_id: UUID, account_id: UUID) -> FoundAccount | None:
        found = await self.accounts.look_up(user_id, account_id)
        self.surveyor.grants.remembered.remember(account_id, found)
        if found is not None and found.copy.hold_reason is None:
            await self.surveyor.creators.look(account_id, user_id, patience=CREATOR_PATIENCE_S)
        return found

    async def _judged(
        self, posts: Sequence[Post], accounts: Mapping[UUID, FoundAccount | None], now: datetime
    ) -> Sequence[Verdict]:
        """Make the checks of creation on one user's posts as they are."""
        read = [(post, self._wanted(post, now)) for post in posts]
        wanted = [(post, each) for post, each in read if each is not None]
        unreadable = [Verdict(post, (UNREADABLE,), complete=True) for post, each in read if each is None]
        if not wanted:
            return unreadable
        try:
            around = await self.surveyor.look_around([each for _, each in wanted], posts[0].user_id, at_files=False)
        except Problem:
            return [*unreadable, *(Verdict(post, (), complete=False) for post, _ in wanted)]
        candidates = [
            Candidate(each, one, post_id=post.id, is_settled=True, due_at=post.next_attempt_at)
            for (post, each), one in zip(wanted, around, strict=True)
        ]
        async with self.database.transaction() as tx:
            judged = await judge_posts(tx, candidates, posts[0].user_id, lock=False)
        stored = await self._ask(
            {file.storage_key: partial(self.storage.exists, file.storage_key) for file in _files(judged)}, STORAGE_SECONDS
        )
        pairs = zip((post for post, _ in wanted), judged, around, strict=True)
        verdicts = (_verdict(post, one, _readiness(post, one, accounts, stored, each)) for post, one, each in pairs)
        return [*unreadable, *verdicts]

    def _wanted(self, post: Post, now: datetime) -> WantedPost | None:
        """Read a post as its owner wants it, None when its row makes none (written by another version, or by hand)."""
        try:
            return want_change(post, {}, now=now, allowed_hosts=self.allowed_hosts)
        except ValidationError as error:
            _log.error("waiting_post_unreadable", post_id=str(post.id), fields=broken_fields(error))
            return None

    async def _ask(self, questions: Mapping[K, Question[V]], seconds: float) -> dict[K, V]:
        return await answers_in_time(questions, seconds=seconds, parallel=self.limits.parallel)

    async def _note(self, verdicts: Sequence[Verdict]) -> None:
        """Write what was found; what is the same as before changes nothing that clients see."""
        fine: list[Post] = []
        again: list[Post] = []
        for verdict in verdicts:
            warnings = _warnings(verdict)
            in_order = verdict.complete and not verdict.findings
            if warnings != verdict.post.warnings:
                await self._tell(verdict.post, warnings, in_order=in_order)
            elif in_order:
                fine.append(verdict.post)
            else:
                again.append(verdict.post)
        async with self.database.transaction() as tx:
            await note_checked(tx.connection, fine)
            await look_again(tx.connection, again, self.limits)

    async def _tell(self, seen: Post, warnings: list[dict[str, Any]], *, in_order: bool) -> None:
        """Replace the warnings of a post that is still what it was, and emit `PostUpdated`."""
        async with self.database.transaction() as tx:
            post = await lock_post(tx.connection, seen.id)
            if post is None or post.version != seen.version:
                return
            columns = {
                "warnings": warnings,
                "check_after": None if in_order else await database_now(tx.connection) + self.limits.again_after,
                "checked_version": post.version + 1 if in_order else post.checked_version,
            }
            changed = await change_post(tx.connection, post, columns)
            event = PostUpdated(
                post_id=changed.id,
                account_id=changed.account_id,
                status=changed.status,
                attempt=changed.attempt,
                scheduled_time=changed.scheduled_time,
                changes={"warnings": [seen.warnings, warnings]},
            )
            await self.outbox.emit_all(tx, [wrap_event(self.outbox, changed, event, own_context(changed))])


def _files(judged: Collection[Judged]) -> Collection[Media]:
    return {one.media.storage_key: one.media for one in judged if one.media is not None}.values()


def _readiness(
    post: Post,
    judged: Judged,
    accounts: Mapping[UUID, FoundAccount | None],
    stored: Mapping[str, bool],
    around: Surroundings,
) -> Readiness:
    is_known = post.account_id is not None and post.account_id in accounts
    return Readiness(
        account_known=is_known,
        account_gone=post.account_id is not None and is_known and accounts[post.account_id] is None,
        object_there=stored.get(judged.media.storage_key) if judged.media is not None else True,
        day_known=None not in around.days.values(),
    )


def _warnings(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the warnings to show: while something is not known, what was found before stays beside what is found now."""
    found = [warning_json(item) for item in verdict.findings]
    if verdict.complete:
        return found
    codes = {(item.get("field"), item["code"]) for item in found}
    return [*found, *(item for item in verdict.post.warnings if (item.get("field"), item["code"]) not in codes)]


def _verdict(post: Post, judged: Judged, readiness: Readiness) -> Verdict:
    found = [*judged.findings, *problems_before_due(readiness), *judged.warnings]
    # A deadline was chosen for the attempt that is to come, and may lie before the time first planned.
    kept = [item for item in found if item.code != "publish_before_too_early"]
    return Verdict(post, tuple(kept), complete=readiness.is_known and PRIVACY_UNCHECKED not in kept)
