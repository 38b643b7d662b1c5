"""Storing a TikTok account with its grant."""

from dataclasses import dataclass
from uuid import UUID

from accounts.domain.account import Account
from accounts.domain.profile import Profile
from accounts.storage.account_reads import find_account
from accounts.storage.account_tokens import SealedPair, forget_pair, store_new_pair
from accounts.storage.account_writes import insert_account, lock_creator, reconnect_account
from accounts.storage.grant_revocations import cancel_revocation
from accounts.storage.refusals import forget_refusals
from accounts.usecases.account_events import tell_connected
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.ids import uuid7
from common.messaging.outbox import Outbox

DISCONNECTING_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Grant:
    """What a creator granted: who they are, the scopes, and the sealed tokens."""

    profile: Profile
    scopes: tuple[str, ...]
    pair: SealedPair


async def connect_account(tx: Transaction, outbox: Outbox, context: Context, *, user_id: UUID, grant: Grant) -> Account:
    """Store the account, or bring back the user's own under its old id, and tell of it; a paused one comes back paused.

    Raises Problem 409 `account_owned_by_another_user` while another user holds it. Of two users who connect the same creator at
    once, the second one waits and is refused. 409 `account_disconnecting` while the revocation of the account's old grant may
    end the new one too: at TikTok both are one.
    """
    holdings = await lock_creator(tx.connection, grant.profile.open_id)
    if any(holding.connected and holding.user_id != user_id for holding in holdings):
        raise owned_by_another_user()
    own = next((holding for holding in holdings if holding.user_id == user_id), None)
    account_id = own.id if own is not None else uuid7()
    for holding in holdings:
        if not await cancel_revocation(tx.connection, holding.id, granted_at=grant.pair.life.obtained_at):
            raise _disconnecting()
        if holding.id != account_id:
            await forget_pair(tx.connection, holding.id)
    if own is None:
        await insert_account(tx.connection, account_id, user_id, grant.profile, grant.scopes)
    else:
        await reconnect_account(tx.connection, own, grant.profile, grant.scopes)
        await forget_refusals(tx.connection, account_id)
    await store_new_pair(tx.connection, account_id, grant.pair)
    account = await find_account(tx.connection, account_id)
    if account is None:
        raise RuntimeError("the account that was just stored is not there")
    await tell_connected(tx, outbox, account, context, reconnected=own is not None)
    return account


def _disconnecting() -> Problem:
    return Problem(
        409,
        "account_disconnecting",
        "This TikTok account is just being disconnected.",
        hint=f"Start connecting again in {DISCONNECTING_SECONDS} seconds.",
        headers={"Retry-After": str(DISCONNECTING_SECONDS)},
    )


def owned_by_another_user() -> Problem:
    """Return 409 `account_owned_by_another_user`."""
    return Problem(
        409,
        "account_owned_by_another_user",
        "This TikTok account is connected by another user.",
        hint="That user has to remove it first.",
    )
