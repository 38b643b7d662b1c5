"""Refreshing of token pairs: one at a time per account, in this process and among all replicas.

A refresh that was begun is carried to its end whatever becomes of the request that asked for it: TikTok's answer kills the old
refresh token, so an answer that is not stored would cost the creator's grant.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import structlog

from accounts.domain.account import AccountStatus
from accounts.domain.token_life import refresh_backoff
from accounts.metrics import TOKEN_REFRESHES
from accounts.security.token_sealing import seal_grant
from accounts.security.vault import Vault
from accounts.storage.account_tokens import Lease, StoredPair, find_pair, postpone_refresh, take_lease
from accounts.storing import until_stored
from accounts.usecases.expire_account import expire_account
from accounts.usecases.store_refreshed_pair import store_refreshed_pair
from common.clock import utc_now
from common.contracts.context import Context
from common.database import Database
from common.messaging.outbox import Outbox
from tiktok.errors import GrantInvalid, TikTokError, TikTokRateLimited, TikTokUnavailable
from tiktok.oauth import OAuthClient, TokenGrant

LEASE = timedelta(seconds=45)
"""Longer than a call to TikTok may take."""
LEASE_WAIT_SECONDS = LEASE.total_seconds() + 5
STORE_PATIENCE_SECONDS = 60.0
COOL_DOWN_SECONDS = 15.0
MAX_REMEMBERED_FAILURES = 10_000

GRANT_GONE = "TikTok refused to renew the access: it was withdrawn or has lapsed."
ANSWER_LOST = (
    "TikTok was asked to renew the access and may have done so, but its answer was lost before it could be stored (a process, or"
    " the connection to TikTok, ended at that moment, or the answer could not be used), and TikTok no longer accepts the old one."
)
LAPSED = "TikTok's access has lapsed: it could not be renewed in time."
OTHER_CREATOR = "TikTok answered with another creator's access."
OUTCOMES = {GRANT_GONE: "refused", ANSWER_LOST: "answer_lost", LAPSED: "lapsed", OTHER_CREATOR: "other_creator"}

Known = TypeVar("Known")

log = structlog.get_logger(__name__)


class RefreshPending(Exception):
    """The refresh goes on, but the caller's patience ended."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """What TikTok answered, and the moment before which it wants to hear no more of the account."""

    until: float
    error: TikTokRateLimited


class TokenRefresher:
    """A component; stopping waits for what is under way."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        outbox: Outbox,
        oauth: OAuthClient,
        *,
        ahead: timedelta,
        required_scopes: tuple[str, ...] = (),
    ) -> None:
        self._database = database
        self._vault = vault
        self._outbox = outbox
        self._oauth = oauth
        self._ahead = ahead
        self._required_scopes = required_scopes
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        self._failed_at: dict[UUID, float] = {}
        self._waits: dict[UUID, _Wait] = {}
        self.planned: Callable[[], None] = _nobody
        """Called after a commit that planned another refresh (the refresh loop's wake-up)."""

    async def start(self) -> None:
        """Do nothing: refreshes begin when a token is asked for."""

    async def stop(self) -> None:
        """Wait for the refreshes under way, so that no answer of TikTok is lost."""
        if self._under_way:
            await asyncio.wait(set(self._under_way.values()))

    def failed_recently(self, account_id: UUID) -> bool:
        """Return whether a refresh failed within the last 15 s: no use in making a caller wait for another."""
        return time.monotonic() - self._failed_at.get(account_id, float("-inf")) < COOL_DOWN_SECONDS

    async def refresh(self, pair: StoredPair, *, patience: float) -> None:
        """Refresh the pair, or join whoever does; returns when the account has another pair or is expired.

        Raises `RefreshPending` after `patience` seconds, and the TikTokError of a refresh that brought no verdict. While TikTok
        has asked to wait with this account, its TikTokRateLimited with what is left of the wait, and TikTok is not asked.
        """
        task = self._under_way.get(pair.pair_id)
        if task is None:
            self._check_wait(pair.account_id)
            task = asyncio.create_task(self._run(pair), name=f"token-refresh:{pair.account_id}")
            self._under_way[pair.pair_id] = task
            task.add_done_callback(lambda done: self._done(pair, done))
        finished, _ = await asyncio.wait({task}, timeout=patience)
        if not finished:
            raise RefreshPending
        await task

    def _done(self, pair: StoredPair, task: "asyncio.Task[None]") -> None:
        self._under_way.pop(pair.pair_id, None)
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._failed_at.pop(pair.account_id, None)
            return
        _remember(self._failed_at, pair.account_id, time.monotonic())
        if not isinstance(error, TikTokError):
            TOKEN_REFRESHES.labels("crashed").inc()
            log.error("token_refresh_crashed", account_id=str(pair.account_id), kind=type(error).__name__)

    def _check_wait(self, account_id: UUID) -> None:
        wait = self._waits.get(account_id)
        if wait is None:
            return
        left = wait.until - time.monotonic()
        if left > 0:
            told = wait.error
            raise TikTokRateLimited(
                told.code, retry_after=left, http_status=told.http_status, log_id=told.log_id, message=told.message
            )
        del self._waits[account_id]

    async def _run(self, pair: StoredPair) -> None:
        # Opened first: a lease that lapses is to mean that TikTok may have been asked.
        refresh_token = self._vault.open(pair.refresh_token)
        lease = await self._lease(pair)
        if lease is None:
            return
        asked_at = utc_now()
        try:
            refreshed = await self._oauth.refresh(refresh_token)
        except GrantInvalid as error:
            log.warning("token_refresh_refused", **_told(pair, error), answer_lost=lease.answer_lost)
            await self._expire(pair, lease, ANSWER_LOST if lease.answer_lost else GRANT_GONE)
            return
        except TikTokError as error:
            await self._failed(pair, lease, error)
            return
        left = (pair.refresh_expires_at - asked_at).total_seconds()
        grant = refreshed.completed(refresh_expires_in=left, open_id=pair.open_id)
        if grant.open_id != pair.open_id:
            log.error("token_refresh_of_other_creator", account_id=str(pair.account_id))
            await self._expire(pair, lease, OTHER_CREATOR)
            return
        await self._store(pair, grant, asked_at)

    async def _failed(self, pair: StoredPair, lease: Lease, error: TikTokError) -> None:
        """Plan the next try; raises the error, unless no token has any life left: then the account is expired."""
        answer_lost = isinstance(error, TikTokUnavailable) and error.sent
        log.warning("token_refresh_failed", **_told(pair, error), failures=pair.refresh_failures + 1, answer_lost=answer_lost)
        if pair.refresh_lapsed:
            await self._expire(pair, lease, LAPSED)
            return
        asked_for = 0.0
        if isinstance(error, TikTokRateLimited):
            asked_for = error.retry_after
            # Before the database plans the next try: that one must not come too early here.
            _remember(self._waits, pair.account_id, _Wait(time.monotonic() + asked_for, error))
        seconds = refresh_backoff(pair.refresh_failures + 1, spread=random.random(), at_least=asked_for)  # noqa: S311
        async with self._database.transaction() as tx:
            await postpone_refresh(tx.connection, pair.account_id, lease.lease_id, seconds=seconds, answer_lost=answer_lost)
            tx.after_commit(self.planned)
        TOKEN_REFRESHES.labels("failed").inc()
        raise error

    async def _lease(self, pair: StoredPair) -> Lease | None:
        """Wait for the sole right to refresh this pair; None when someone else settled it meanwhile."""
        lease_id, deadline = uuid4(), time.monotonic() + LEASE_WAIT_SECONDS
        while time.monotonic() < deadline:
            async with self._database.transaction() as tx:
                lease = await take_lease(tx.connection, pair.account_id, pair_id=pair.pair_id, lease_id=lease_id, life=LEASE)
            if lease is not None:
                return lease
            async with self._database.read() as connection:
                current = await find_pair(connection, pair.account_id)
            if current is None or current.pair_id != pair.pair_id or _expired_since(pair, current):
                return None
            await asyncio.sleep(random.uniform(0.03, 0.1))  # noqa: S311 - spreads the replicas that wait
        raise RefreshPending

    async def _store(self, pair: StoredPair, grant: TokenGrant, asked_at: datetime) -> None:
        """Commit the new pair, trying for a minute while the database is away or busy: there is no second copy of it."""
        sealed = seal_grant(self._vault, grant, asked_at=asked_at, ahead=self._ahead)
        async for attempt in until_stored(STORE_PATIENCE_SECONDS):
            with attempt:
                async with self._database.transaction() as tx:
                    stored = await store_refreshed_pair(
                        tx,
                        self._outbox,
                        _context(pair),
                        account_id=pair.account_id,
                        old_pair_id=pair.pair_id,
                        pair=sealed,
                        scopes=grant.scopes,
                        required_scopes=self._required_scopes,
                    )
                    tx.after_commit(self.planned)
        TOKEN_REFRESHES.labels("ok").inc()
        log.info("token_refreshed", account_id=str(pair.account_id), stored=stored, expires_at=sealed.life.expires_at)

    async def _expire(self, pair: StoredPair, lease: Lease, reason: str) -> None:
        async with self._database.transaction() as tx:
            await expire_account(
                tx,
                self._outbox,
                _context(pair),
                account_id=pair.account_id,
                pair_id=pair.pair_id,
                lease_id=lease.lease_id,
                reason=reason,
            )
        TOKEN_REFRESHES.labels(OUTCOMES[reason]).inc()


def _nobody() -> None:
    """Nobody waits for plans."""


def _remember(known: dict[UUID, Known], account_id: UUID, value: Known) -> None:
    if len(known) >= MAX_REMEMBERED_FAILURES:
        known.clear()
    known[account_id] = value


def _expired_since(pair: StoredPair, current: StoredPair) -> bool:
    """Whether another's refresh ended the grant. Of an account that was expired before, the state says nothing about that."""
    return current.status is AccountStatus.EXPIRED and pair.status is not AccountStatus.EXPIRED


def _told(pair: StoredPair, error: TikTokError) -> dict[str, str | None]:
    return {"account_id": str(pair.account_id), "code": error.code, "log_id": error.log_id}


def _context(pair: StoredPair) -> Context:
    return Context.of_service("accounts", user_id=pair.user_id)
