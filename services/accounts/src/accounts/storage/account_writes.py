"""Connecting TikTok accounts and changing their state; every change makes the version grow by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import Account, AccountStatus
from accounts.domain.profile import Profile, search_text
from accounts.storage.tables import tiktok_accounts

_table = tiktok_accounts


@dataclass(frozen=True, slots=True)
class Holding:
    """A stored account of one creator: whose it is, and whether it is connected now."""

    id: UUID
    user_id: UUID
    connected: bool


async def lock_creator(connection: AsyncConnection, open_id: str) -> list[Holding]:
    """Return who holds or held this creator's account; until the transaction ends nobody else connects it."""
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:open_id, 0))")
    await connection.execute(lock, {"open_id": open_id})
    statement = (
        select(_table.c.id, _table.c.user_id, _table.c.disconnected_at.is_(None))
        .where(_table.c.open_id == open_id)
        .with_for_update()
    )
    return [Holding(*row) for row in await connection.execute(statement)]


async def insert_account(
    connection: AsyncConnection, account_id: UUID, user_id: UUID, profile: Profile, scopes: Sequence[str]
) -> None:
    """Store a creator's account that this user connects for the first time."""
    values = {
        "id": account_id,
        "user_id": user_id,
        "open_id": profile.open_id,
        "status": AccountStatus.ACTIVE.value,
        "version": 1,
        "last_synced_at": func.now(),
        **_profile_values(profile),
        **_names(profile),
        "scopes": list(scopes),
    }
    await connection.execute(insert(_table).values(values))


async def reconnect_account(connection: AsyncConnection, account_id: UUID, profile: Profile, scopes: Sequence[str]) -> None:
    """Bring an account back with a new grant; one that its owner has paused stays paused."""
    paused = (_table.c.status == AccountStatus.INACTIVE.value) & _table.c.disconnected_at.is_(None)
    status = case((paused, AccountStatus.INACTIVE.value), else_=AccountStatus.ACTIVE.value)
    values = {
        **_profile_values(profile),
        **_names(profile),
        "scopes": list(scopes),
        "status": status,
        "disconnected_at": None,
        "last_error": None,
        "last_synced_at": func.now(),
    }
    await _change(connection, account_id, values)


async def change_status(
    connection: AsyncConnection, account_id: UUID, status: AccountStatus, *, last_error: str | None
) -> None:
    """Set the state and why."""
    await _change(connection, account_id, {"status": status.value, "last_error": last_error})


async def change_scopes(
    connection: AsyncConnection, account_id: UUID, scopes: Sequence[str], *, last_error: str | None
) -> None:
    """Set what the grant allows, and what is wrong with that."""
    await _change(connection, account_id, {"scopes": list(scopes), "last_error": last_error})


async def store_profile(connection: AsyncConnection, account: Account, profile: Profile, *, synced_at: datetime) -> None:
    """Store what TikTok told at `synced_at`; what the granted scopes did not show stays as it was."""
    username = profile.username or account.username
    display_name = profile.display_name or account.display_name
    values = {
        **_profile_values(profile),
        "username": username,
        "display_name": display_name,
        "search_text": search_text(username, display_name),
        "last_synced_at": synced_at,
    }
    await _change(connection, account.id, values)


async def disconnect(connection: AsyncConnection, account_id: UUID) -> int:
    """Take the account away from its owner and return its new version."""
    await _change(connection, account_id, {"disconnected_at": func.now()})
    version = await connection.scalar(select(_table.c.version).where(_table.c.id == account_id))
    return int(version or 0)


async def _change(connection: AsyncConnection, account_id: UUID, values: dict[str, Any]) -> None:
    changed = {**values, "version": _table.c.version + 1, "updated_at": func.now()}
    await connection.execute(update(_table).where(_table.c.id == account_id).values(changed))


def _names(profile: Profile) -> dict[str, Any]:
    username = profile.username or profile.display_name or profile.open_id
    display_name = profile.display_name or username
    return {
        "username": username,
        "display_name": display_name,
        "search_text": search_text(username, display_name),
    }


def _profile_values(profile: Profile) -> dict[str, Any]:
    known = {
        "union_id": profile.union_id,
        "avatar_url": profile.avatar_url,
        "follower_count": profile.follower_count,
        "following_count": profile.following_count,
        "likes_count": profile.likes_count,
        "video_count": profile.video_count,
    }
    return {name: value for name, value in known.items() if value is not None}
