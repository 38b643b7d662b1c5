"""Users."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.identity import Email
from accounts.domain.user import Credentials, User
from accounts.storage.tables import users

_SHOWN = (users.c.id, users.c.email, users.c.username, users.c.timezone, users.c.created_at)

CredentialsFinder = Callable[[AsyncConnection], Awaitable[Credentials | None]]
"""Reads whose password is to be compared."""


async def insert_user(
    connection: AsyncConnection, *, user_id: UUID, email: Email, username: str, password_hash: str, timezone: str
) -> User | None:
    """Store a new user; None when the address is taken, also by a registration that runs at the same time."""
    statement = (
        insert(users)
        .values(
            id=user_id,
            email=email.shown,
            email_key=email.key,
            username=username,
            password_hash=password_hash,
            timezone=timezone,
        )
        .on_conflict_do_nothing(index_elements=[users.c.email_key])
        .returning(*_SHOWN)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else User(*row)


async def find_user(connection: AsyncConnection, user_id: UUID) -> User | None:
    """Return the user."""
    row = (await connection.execute(select(*_SHOWN).where(users.c.id == user_id))).one_or_none()
    return None if row is None else User(*row)


async def email_taken(connection: AsyncConnection, email_key: str) -> bool:
    """Return whether someone has this address."""
    return await connection.scalar(select(users.c.id).where(users.c.email_key == email_key)) is not None


async def find_credentials(connection: AsyncConnection, email_key: str) -> Credentials | None:
    """Return what to check a login of this address against."""
    statement = select(users.c.id, users.c.password_hash).where(users.c.email_key == email_key)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else Credentials(*row)


async def find_own_credentials(connection: AsyncConnection, user_id: UUID) -> Credentials | None:
    """Return what to check the user's current password against."""
    row = (await connection.execute(select(users.c.id, users.c.password_hash).where(users.c.id == user_id))).one_or_none()
    return None if row is None else Credentials(*row)


async def email_key_of(connection: AsyncConnection, user_id: UUID) -> str | None:
    """Return under which key the user's failed logins are counted."""
    key: str | None = await connection.scalar(select(users.c.email_key).where(users.c.id == user_id))
    return key


async def lock_credentials(connection: AsyncConnection, known: Credentials) -> bool:
    """Keep the user's password as it is until the transaction ends; False when it is no longer the one that was looked at."""
    statement = select(users.c.id).where(users.c.id == known.user_id, users.c.password_hash == known.password_hash)
    # Sessions and keys that name the user as theirs are not held up by this lock.
    return await connection.scalar(statement.with_for_update(key_share=True)) is not None


async def replace_password_hash(connection: AsyncConnection, user_id: UUID, new: str) -> None:
    """Store another hash; `lock_credentials` comes before."""
    await connection.execute(update(users).where(users.c.id == user_id).values(password_hash=new, updated_at=func.now()))
