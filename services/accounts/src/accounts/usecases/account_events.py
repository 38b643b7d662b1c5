"""Telling what happened to a TikTok account: every event carries the account as it is afterwards."""

from datetime import datetime
from typing import Any

from accounts.domain.account import Account
from common.contracts.accounts import (
    AccountConnected,
    AccountDisconnected,
    AccountEvent,
    AccountExpired,
    AccountSynced,
    AccountUpdated,
)
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def tell_connected(tx: Transaction, outbox: Outbox, account: Account, context: Context, *, reconnected: bool) -> None:
    """Tell that the account was connected."""
    await _tell(tx, outbox, account, context, AccountConnected(**_fields(account), reconnected=reconnected))


async def tell_updated(tx: Transaction, outbox: Outbox, before: Account, account: Account, context: Context) -> None:
    """Tell that its state or scopes changed, and from what to what."""
    old, new = _fields(before), _fields(account)
    changes = {name: [old[name], new[name]] for name in ("status", "scopes") if old[name] != new[name]}
    await _tell(tx, outbox, account, context, AccountUpdated(**new, changes=changes))


async def tell_expired(tx: Transaction, outbox: Outbox, account: Account, context: Context, *, reason: str) -> None:
    """Tell that the grant is gone."""
    await _tell(tx, outbox, account, context, AccountExpired(**_fields(account), reason=reason))


async def tell_synced(tx: Transaction, outbox: Outbox, account: Account, context: Context, *, synced_at: datetime) -> None:
    """Tell what TikTok shows of it."""
    await _tell(tx, outbox, account, context, AccountSynced(**_fields(account), synced_at=synced_at))


async def tell_disconnected(tx: Transaction, outbox: Outbox, account: Account, context: Context, *, version: int) -> None:
    """Tell that its owner removed it; the event carries it as it was, with the version it has now."""
    event = AccountDisconnected(**_fields(account))
    await outbox.emit(tx, event, subject=str(account.id), context=context, sequence=version)


async def _tell(tx: Transaction, outbox: Outbox, account: Account, context: Context, event: AccountEvent) -> None:
    await outbox.emit(tx, event, subject=str(account.id), context=context, sequence=account.version)


def _fields(account: Account) -> dict[str, Any]:
    return {
        "account_id": account.id,
        "user_id": account.user_id,
        "tiktok_user_id": account.open_id,
        "username": account.username,
        "display_name": account.display_name,
        "status": account.status.value,
        "scopes": list(account.scopes),
        "follower_count": account.follower_count,
        "following_count": account.following_count,
        "likes_count": account.likes_count,
        "video_count": account.video_count,
    }
