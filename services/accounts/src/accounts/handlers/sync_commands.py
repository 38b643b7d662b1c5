"""Commands that read TikTok: the calls are made before the transaction opens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from accounts.batch_turns import BatchTurns
from accounts.domain.account import Account
from accounts.handlers.owner import owner
from accounts.profile_syncs import ProfileSyncs
from accounts.usecases.account_problems import account_not_found
from accounts.usecases.store_synced_profile import SyncedProfile, store_synced_profile
from common.clock import rfc3339
from common.contracts.accounts import SyncAccount, SyncAccounts, SyncFailed
from common.contracts.envelope import Envelope
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_prepared_command

Readings = Mapping[UUID, SyncedProfile | Problem]
NOT_FOUND = account_not_found().code
"""Is not told of: there is no account of this user that anything happened to, and whoever asks may name any ids."""
UP_TO_DATE = "Profile and counters are as TikTok shows them."


@dataclass(frozen=True, slots=True)
class SyncCommands:
    """Handlers with what they need."""

    outbox: Outbox
    syncs: ProfileSyncs
    batches: ProfileSyncs
    """With turns of their own."""
    turns: BatchTurns = field(default_factory=BatchTurns)

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the queues of slow commands: any of them may come through either."""
        return (
            on_prepared_command(SyncAccount, self.read_one, self.store_one),
            on_prepared_command(SyncAccounts, self.read_many, self.store_many),
        )

    async def read_one(self, command: SyncAccount, envelope: Envelope) -> SyncedProfile | Problem:
        """Ask TikTok for one account; a refusal is an answer, so that it is told of where replies are stored."""
        try:
            return await self.syncs.read(command.account_id, owner(envelope))
        except Problem as problem:
            return problem

    async def store_one(
        self, tx: Transaction, command: SyncAccount, envelope: Envelope, read: SyncedProfile | Problem
    ) -> Reply:
        """Store what TikTok told: 200 with the counters; or tell that nothing was synced, and why."""
        if not isinstance(read, Problem):
            account = await store_synced_profile(tx, self.outbox, envelope.context, account_id=command.account_id, read=read)
            if account is not None:
                return Reply(status=200, body=_synced(account))
            read = account_not_found()
        if read.code != NOT_FOUND:
            await self._tell_failed(tx, envelope, command.account_id, read)
        return Reply.of_problem(read).model_copy(update={"replayable": False})

    async def read_many(self, command: SyncAccounts, envelope: Envelope) -> Readings:
        """Ask TikTok for each account once, some at a time."""
        user_id = owner(envelope)
        async with self.turns.turn(user_id):
            return await self.batches.read_many(list(dict.fromkeys(command.account_ids)), user_id)

    async def store_many(self, tx: Transaction, command: SyncAccounts, envelope: Envelope, readings: Readings) -> Reply:
        """Store what TikTok told: 200 with a result for each account, in the order of the request."""
        del command
        problems = {account_id: read for account_id, read in readings.items() if isinstance(read, Problem)}
        # In one order everywhere: two batches that share accounts must not wait for each other.
        for account_id, read in sorted(readings.items()):
            if isinstance(read, Problem):
                continue
            stored = await store_synced_profile(tx, self.outbox, envelope.context, account_id=account_id, read=read)
            if stored is None:
                problems[account_id] = account_not_found()
        for account_id, problem in problems.items():
            if problem.code != NOT_FOUND:
                await self._tell_failed(tx, envelope, account_id, problem)
        return Reply(status=200, body=_results(list(readings), problems))

    async def _tell_failed(self, tx: Transaction, envelope: Envelope, account_id: UUID, problem: Problem) -> None:
        failed = SyncFailed(account_id=account_id, user_id=owner(envelope), reason=problem.code)
        await self.outbox.emit(tx, failed, subject=str(account_id), context=envelope.context)


def _synced(account: Account) -> dict[str, object]:
    return {
        "success": True,
        "synced_at": None if account.last_synced_at is None else rfc3339(account.last_synced_at),
        "follower_count": account.follower_count,
        "following_count": account.following_count,
        "video_count": account.video_count,
        "message": UP_TO_DATE,
    }


def _results(account_ids: Sequence[UUID], problems: Mapping[UUID, Problem]) -> dict[str, object]:
    return {
        "success": [str(account_id) for account_id in account_ids if account_id not in problems],
        "failed": [
            {"id": str(account_id), "code": problems[account_id].code, "error": problems[account_id].detail}
            for account_id in account_ids
            if account_id in problems
        ],
        "total": len(account_ids),
    }
