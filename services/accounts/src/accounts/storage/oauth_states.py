"""OAuth states: who started connecting, with which PKCE verifier, and where to go afterwards."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import oauth_states


@dataclass(frozen=True, slots=True)
class ConsumedState:
    """A state that was just used up."""

    user_id: UUID
    code_verifier_sealed: bytes = field(repr=False)
    return_url: str | None
    expired: bool


async def insert_state(
    connection: AsyncConnection,
    *,
    state_hash: bytes,
    user_id: UUID,
    code_verifier_sealed: bytes,
    return_url: str | None,
    life: timedelta,
) -> None:
    """Store a state for `life`."""
    statement = insert(oauth_states).values(
        state_hash=state_hash,
        user_id=user_id,
        code_verifier_sealed=code_verifier_sealed,
        return_url=return_url,
        expires_at=func.now() + life,
    )
    await connection.execute(statement)


async def consume_state(connection: AsyncConnection, state_hash: bytes) -> ConsumedState | None:
    """Use a state up; of several callers at once exactly one gets it."""
    statement = (
        delete(oauth_states)
        .where(oauth_states.c.state_hash == state_hash)
        .returning(
            oauth_states.c.user_id,
            oauth_states.c.code_verifier_sealed,
            oauth_states.c.return_url,
            oauth_states.c.expires_at <= func.now(),
        )
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else ConsumedState(*row)
