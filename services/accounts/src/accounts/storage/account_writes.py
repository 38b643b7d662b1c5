"""Connecting TikTok accounts and changing their state; every change makes the version grow by one.

`paused` is the owner's wish, which lasts until the owner ends it or removes the account; `status` is what is shown: `expired` while
there is no grant, whatever the owner wished, else the wish.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, case, false, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.account import Account, AccountStatus
from accounts.domain.profile import Profile, search_text
from accounts.storage.tables import tiktok_accounts

_table = tiktok_accounts


@dataclass(frozen=True, slots=True)
class Holding:
    """A stored account of one creator: whose it is, whether it is connected now, and the names it goes by."""

    id: UUID
    user_id: UUID
    connected: bool
    username: str
    display_name: str


async def lock_creator(connection: AsyncConnection, open_id: str) -> list[Holding]:
    """Return who holds or held this creator's account; until the transaction ends nobody else connects it."""
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:open_id, 0))")
    await connection.execute(lock, {"open_id": open_id})
    statement = (
        select(_table.c.id, _table.c.user_id, _table.c.disconnected_at.is_(None), _table.c.username, _table.c.display_name)
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


async def reconnect_account(connection: AsyncConnection, known: Holding, profile: Profile, scopes: Sequence[str]) -> None:
    """Bring an account back with a new grant; what its scopes do not show of the profile stays as it was.

    One that its owner has paused stays paused, unless it was disconnected.
    """
    paused = case((_table.c.disconnected_at.is_not(None), false()), else_=_paused())
    values = {
        **_profile_values(profile),
        **_names(profile, known),
        "scopes": list(scopes),
        **_granted(paused),
        "disconnected_at": None,
        "last_error": None,
        "last_synced_at": func.now(),
    }
    await _change(connection, known.id, values)


async def pause_or_resume(connection: AsyncConnection, account_id: UUID, *, paused: bool) -> None:
    """Do as the owner of an account that has a grant wishes; what is wrong with that grant stays as it was."""
    status = AccountStatus.INACTIVE if paused else AccountStatus.ACTIVE
    await _change(connection, account_id, {"status": status.value, "paused": paused})


async def expire(connection: AsyncConnection, account_id: UUID, *, reason: str) -> None:
    """Set that the grant is gone, and why; whether its owner has paused the account stays known."""
    values = {"status": AccountStatus.EXPIRED.value, "paused": _paused(), "last_error": reason}
    await _change(connection, account_id, values)


async def revive(connection: AsyncConnection, account_id: UUID, *, last_error: str | None) -> None:
    """Set that the grant lives after all, and what is wrong with it; the account is what it was before it expired."""
    await _change(connection, account_id, {**_granted(_paused()), "last_error": last_error})


async def change_scopes(
    connection: AsyncConnection, account_id: UUID, scopes: Sequence[str], *, last_error: str | None
) -> None:
    """Set what the grant allows, and what is wrong with that."""
    await _change(connection, account_id, {"scopes": list(scopes), "last_error": last_error})


async def store_profile(connection: AsyncConnection, account: Account, profile: Profile, *, synced_at: datetime) -> None:
    """Store what TikTok told at `synced_at`; what the granted scopes did not show stays as it was."""
    values = {**_profile_values(profile), **_names(profile, account), "last_synced_at": synced_at}
    await _change(connection, account.id, values)


async def disconnect(connection: AsyncConnection, account_id: UUID) -> int:
    """Take the account away from its owner and return its new version."""
    await _change(connection, account_id, {"disconnected_at": func.now()})
    version = await connection.scalar(select(_table.c.version).where(_table.c.id == account_id))
    return int(version or 0)


def _paused() -> ColumnElement[bool]:
    # A replica of the version before this column sets the state alone, so the state is right wherever it tells of a pause.
    return case(
        (_table.c.status == AccountStatus.EXPIRED.value, _table.c.paused),
        else_=_table.c.status == AccountStatus.INACTIVE.value,
    )


def _granted(paused: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    status = case((paused, AccountStatus.INACTIVE.value), else_=AccountStatus.ACTIVE.value)
    return {"status": status, "paused": paused}


async def _change(connection: AsyncConnection, account_id: UUID, values: dict[str, Any]) -> None:
    changed = {**values, "version": _table.c.version + 1, "updated_at": func.now()}
    await connection.execute(update(_table).where(_table.c.id == account_id).values(changed))


def _names(profile: Profile, known: Account | Holding | None = None) -> dict[str, Any]:
    """Return the names to store: what the profile shows, else what is known, else what comes nearest."""
    username = profile.username or (known.username if known is not None else profile.display_name) or profile.open_id
    display_name = profile.display_name or (known.display_name if known is not None else username)
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
