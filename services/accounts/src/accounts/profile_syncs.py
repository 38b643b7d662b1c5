"""Reading profiles of connected accounts from TikTok: one, or many with a few calls at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from accounts.access_tokens import AccessToken, AccessTokens
from accounts.clients.profiles import ProfileReader
from accounts.clients.tiktok_problems import call_problem, not_read_in_time, tiktok_away
from accounts.domain.account import AccountStatus
from accounts.domain.profile import Profile
from accounts.security.opaque import hex_digest
from accounts.storage.account_reads import database_time, find_account
from accounts.usecases.account_problems import account_expired, account_not_found
from accounts.usecases.store_synced_profile import SyncedProfile
from common.database import Database
from common.errors import Problem
from tiktok.errors import TikTokError, TikTokRateLimited, TokenInvalid

AT_ONCE = 8
"""Accounts of one batch that are read at the same time."""
BATCH_SECONDS = 60.0


class ProfileSyncs:
    """Reads profiles; no transaction is open meanwhile, and nothing is stored."""

    def __init__(
        self, database: Database, tokens: AccessTokens, profiles: ProfileReader, *, batch_seconds: float = BATCH_SECONDS
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._profiles = profiles
        self._batch_seconds = batch_seconds

    async def read(self, account_id: UUID, user_id: UUID) -> SyncedProfile:
        """Return the profile of the user's account as TikTok shows it now.

        Raises Problem 404 `account_not_found`, 409 `account_expired` and `missing_scope`, 502 `tiktok_unavailable`, 503
        `tiktok_rate_limit_exceeded`.
        """
        try:
            return await self._read(account_id, user_id)
        except TikTokError as error:
            raise call_problem(error) from error

    async def read_many(self, account_ids: Sequence[UUID], user_id: UUID) -> Mapping[UUID, SyncedProfile | Problem]:
        """Return for each account, in the given order, its profile or why there is none.

        After TikTok asked to wait with profiles, or without a turn in time, no further call is made. (That it asked to wait with
        new tokens of one account says nothing of the others.) What is not read after a minute is `not_read_in_time`.
        """
        found: dict[UUID, SyncedProfile | Problem] = {}
        waiting, ends = iter(account_ids), list[Problem]()

        async def work() -> None:
            for account_id in waiting:
                found[account_id] = ends[0] if ends else await self._outcome(account_id, user_id, ends)

        workers = [asyncio.create_task(work(), name="profile-sync") for _ in range(min(AT_ONCE, len(account_ids)))]
        try:
            done, _ = await asyncio.wait(workers, timeout=self._batch_seconds)
            for worker in done:
                worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return {account_id: found.get(account_id) or not_read_in_time() for account_id in account_ids}

    async def _outcome(self, account_id: UUID, user_id: UUID, ends: list[Problem]) -> SyncedProfile | Problem:
        """Return what became of one; what ends the batch is added to `ends`."""
        try:
            return await self._read(account_id, user_id)
        except TikTokError as error:
            problem, is_end = call_problem(error), isinstance(error, TikTokRateLimited)
        except Problem as raised:
            problem, is_end = raised, raised.code == not_read_in_time().code
        if is_end:
            ends.append(problem)
        return problem

    async def _read(self, account_id: UUID, user_id: UUID) -> SyncedProfile:
        """Do what `read` does; raises TikTokError as it is."""
        async with self._database.read() as connection:
            asked_at = await database_time(connection)
            account = await find_account(connection, account_id, user_id=user_id)
        if account is None:
            raise account_not_found()
        if account.status is AccountStatus.EXPIRED:
            raise account_expired()
        try:
            return SyncedProfile(await self._profile(account_id), asked_at)
        except Problem as problem:
            if problem.code == "tiktok_unavailable":
                raise tiktok_away() from problem
            raise

    async def _profile(self, account_id: UUID) -> Profile:
        access = await self._tokens.get(account_id)
        try:
            return await self._with(access)
        except TokenInvalid:
            return await self._with(await self._tokens.get(account_id, rejected_sha256=hex_digest(access.token)))

    async def _with(self, access: AccessToken) -> Profile:
        return await self._profiles.read(access.token, access.scopes, open_id=access.open_id)
