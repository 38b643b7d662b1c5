"""What other services know that the checks of a post need: which account it is for, and what its creator may choose."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from common.clock import utc_now
from common.database.database import Database
from common.errors import Problem
from scheduler.clients.account_grants import AccountGrants
from scheduler.clients.accounts import AccountsClient
from scheduler.clients.creator_options import CreatorOptions
from scheduler.clients.daily_caps import MODES, DailyCaps
from scheduler.domain.creator import Creator
from scheduler.domain.daily_cap import Day
from scheduler.domain.finding import Finding
from scheduler.domain.readiness import ACCOUNT_FIELD, soon
from scheduler.usecases.choose_account import choose_account
from scheduler.usecases.problems import finding_of, problem_of
from scheduler.usecases.stored_files import StoredFiles
from scheduler.usecases.wanted_post import WantedPost

PARALLEL_QUESTIONS = 20


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A post's account, or `findings` why there is none, and what is known of it.

    `creator` is what its creator may post, None when that is not known; `grant_expires_at` when its grant ends, if that is soon;
    `scopes` what its creator granted, None when that is not known; `file_lost` tells that its video is not in the storage any
    more. In `sandbox` mode posts go out as SELF_ONLY. `days` tells by mode how full the account's day is, None when that was asked
    and is not known.
    """

    account_id: UUID | None = None
    findings: tuple[Finding, ...] = ()
    creator: Creator | None = None
    asked_creator: bool = False
    grant_expires_at: datetime | None = None
    scopes: frozenset[str] | None = None
    sandbox: bool = False
    file_lost: bool = False
    days: Mapping[str, Day | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Asks other services and the object storage what the checks need, outside any transaction."""

    database: Database
    accounts: AccountsClient
    creators: CreatorOptions
    grants: AccountGrants
    files: StoredFiles
    days: DailyCaps
    sandbox: bool = False

    async def look_around(self, wanted: Sequence[WantedPost], user_id: UUID, *, at_files: bool = True) -> list[Surroundings]:
        """Return the surroundings of each post, asking once for each account and (`at_files`) for each file.

        Raises Problem 503 `accounts_unavailable`, whatever rules posts break by themselves: of the others nothing is known then.
        """
        slots = asyncio.Semaphore(PARALLEL_QUESTIONS)
        with_account = [post for post in wanted if _needs_account(post)]
        ids = {post.fields.tiktok_account_id for post in with_account}
        curious = {post.fields.tiktok_account_id for post in with_account if _has_privacy(post)}
        modes = {(post.fields.tiktok_account_id, post.fields.mode) for post in with_account if not post.fields.draft}

        async def ask(account_id: UUID | None) -> Surroundings:
            async with slots:
                days = [mode for mode in MODES if (account_id, mode) in modes]
                return await self._ask(account_id, user_id, ask_creator=account_id in curious, days=days)

        found = dict(zip(ids, await asyncio.gather(*map(ask, ids)), strict=True))
        around = [found[post.fields.tiktok_account_id] if _needs_account(post) else Surroundings() for post in wanted]
        files = {post.fields.media_id for post in wanted if at_files and post.fields.media_id is not None}
        lost = await self._lost(files, user_id)
        return [
            replace(one, sandbox=self.sandbox, file_lost=post.fields.media_id in lost)
            for post, one in zip(wanted, around, strict=True)
        ]

    async def look_around_one(self, wanted: WantedPost, user_id: UUID) -> Surroundings:
        """Return the surroundings of a post that is to be stored.

        Raises Problem: the refusal of the rules that it breaks by itself where accounts cannot be asked, else 503
        `accounts_unavailable`.
        """
        try:
            (around,) = await self.look_around([wanted], user_id)
        except Problem:
            if wanted.findings:
                raise problem_of(wanted.findings) from None
            raise
        return around

    async def _lost(self, media_ids: Collection[UUID], user_id: UUID) -> frozenset[UUID]:
        slots = asyncio.Semaphore(PARALLEL_QUESTIONS)

        async def is_lost(media_id: UUID) -> bool:
            async with slots:
                return await self.files.look(media_id, user_id) is False

        found = await asyncio.gather(*map(is_lost, media_ids))
        return frozenset(media_id for media_id, lost in zip(media_ids, found, strict=True) if lost)

    async def _ask(self, account_id: UUID | None, user_id: UUID, *, ask_creator: bool, days: Sequence[str]) -> Surroundings:
        try:
            account = await choose_account(self.database, self.accounts, user_id, account_id)
        except Problem as problem:
            if problem.status >= 500:
                raise
            return Surroundings(findings=(finding_of(problem, ACCOUNT_FIELD),))
        if account.status != "active":
            return Surroundings(account.id)
        whose = account.id, account.user_id
        creator, found, told = await asyncio.gather(
            self.creators.look(*whose) if ask_creator else _nothing(),
            self.grants.look(*whose),
            asyncio.gather(*(self.days.look(*whose, mode) for mode in days)),
        )
        around = Surroundings(account.id, creator=creator, asked_creator=ask_creator, days=dict(zip(days, told, strict=True)))
        if found is None:
            return around
        return replace(around, grant_expires_at=soon(found.grant_expires_at, now=utc_now()), scopes=found.scopes)


async def _nothing() -> None:
    """Ask nobody."""


def _needs_account(post: WantedPost) -> bool:
    return not (post.fields.draft and post.fields.tiktok_account_id is None)


def _has_privacy(post: WantedPost) -> bool:
    return post.fields.mode == "direct" and post.fields.privacy_level is not None
