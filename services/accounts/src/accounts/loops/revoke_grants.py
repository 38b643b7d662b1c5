"""Revokes the grants of disconnected accounts: when the jobs under way have ended, or when their patience has run out."""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

from accounts.clients.publish_jobs import PublishJobs
from accounts.grant_revoker import GrantRevoker, Outcome, error_code
from accounts.storage.grant_revocations import (
    DueRevocation,
    begin_call,
    claim_due,
    finish,
    postpone,
    retry_later,
    seconds_until_due,
)
from common.database import Database
from common.database.failures import is_database_away
from common.due_loop import DueLoop, StepResult
from tiktok.errors import TikTokError, TikTokRateLimited

BATCH = 10
MAX_SLEEP_SECONDS = 30.0
LEASE = timedelta(seconds=90)
"""Longer than a step may take: a row whose replica died is taken by another after this."""
CALL_AT_MOST = timedelta(seconds=40)
"""Longer than the calls of one attempt may take; meanwhile the account cannot be connected again."""
RETRY_FIRST_SECONDS = 15.0
RETRY_MAX_SECONDS = 3600.0
GIVE_UP_AFTER = timedelta(hours=24)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RevokeRules:
    """How often it is looked for jobs under way, and how failed calls are repeated."""

    check_every: timedelta
    retry_first: float = RETRY_FIRST_SECONDS
    give_up_after: timedelta = GIVE_UP_AFTER


class RevokeGrants(DueLoop):
    """Any number of replicas; each takes rows for itself.

    Failed calls are repeated with growing waits, up to an hour, for a day after the patience ended; then the tokens are deleted
    unrevoked, and the log says so.
    """

    def __init__(self, database: Database, jobs: PublishJobs, revoker: GrantRevoker, rules: RevokeRules) -> None:
        super().__init__("revoke-grants", self._look, max_sleep=MAX_SLEEP_SECONDS)
        self._database = database
        self._jobs = jobs
        self._revoker = revoker
        self._rules = rules

    async def _look(self) -> StepResult:
        async with self._database.transaction() as tx:
            claimed = await claim_due(
                tx.connection, uuid4(), lease=LEASE, limit=BATCH, give_up_after=self._rules.give_up_after
            )
        await asyncio.gather(*(self._settle(due) for due in claimed))
        async with self._database.read() as connection:
            next_in = await seconds_until_due(connection)
        return StepResult(done=len(claimed), more=len(claimed) == BATCH, next_in=next_in)

    async def _settle(self, due: DueRevocation) -> None:
        """Bring one row forward; its own trouble never ends the others'."""
        try:
            if due.patience_left and await self._jobs.may_be_under_way(due.account_id):
                async with self._database.transaction() as tx:
                    await postpone(tx.connection, due, self._rules.check_every)
                return
            await self._revoke(due)
        except TikTokError as error:
            await self._failed(due, error_code(error), error)
        except Exception as error:
            if is_database_away(error):
                raise
            log.exception("grant_revocation_crashed", account_id=str(due.account_id))
            await self._failed(due, "internal_error", None)

    async def _revoke(self, due: DueRevocation) -> None:
        async with self._database.transaction() as tx:
            mine = await begin_call(tx.connection, due, at_most=CALL_AT_MOST)
        if mine:
            await self._end(due, await self._revoker.revoke(due.account_id))

    async def _failed(self, due: DueRevocation, code: str, error: TikTokError | None) -> None:
        log_id = None if error is None else error.log_id
        if due.given_up:
            log.error("grant_not_revoked", account_id=str(due.account_id), code=code, log_id=log_id, attempts=due.attempts + 1)
            await self._end(due, Outcome.GIVEN_UP)
            return
        at_least = error.retry_after if isinstance(error, TikTokRateLimited) else 0.0
        seconds = max(at_least, self._backoff(due.attempts))
        log.warning("grant_revocation_failed", account_id=str(due.account_id), code=code, log_id=log_id, retry_in=seconds)
        async with self._database.transaction() as tx:
            await retry_later(tx.connection, due, error=code, wait=timedelta(seconds=seconds))

    async def _end(self, due: DueRevocation, outcome: Outcome) -> None:
        async with self._database.transaction() as tx:
            ended = await finish(tx.connection, due, outcome=outcome.value)
        if ended:
            log.info("grant_ended", account_id=str(due.account_id), outcome=outcome.value)

    def _backoff(self, attempts: int) -> float:
        ceiling: float = min(self._rules.retry_first * 2 ** min(attempts, 20), RETRY_MAX_SECONDS)
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
