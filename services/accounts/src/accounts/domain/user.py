"""People and their sessions."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

UNUSED_MAX = 8
"""So many answers may get lost one after another."""
REFRESHES_MAX = 100_000
"""After so many a session is over like one that has expired: each of its refresh tokens is stored as long as it lives."""


@dataclass(frozen=True, slots=True)
class User:
    """A registered person."""

    id: UUID
    email: str
    username: str
    timezone: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is checked against."""

    user_id: UUID
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A stored refresh token with the state of its session, both read under a lock.

    `seconds_since_use` is None until it is used. `newest_used` says that no other token of the session was used after it: whoever
    sends it again may have lost the answer. `unused` counts the tokens of the session that nobody has used yet.
    """

    session_id: UUID
    user_id: UUID
    seconds_since_use: float | None
    newest_used: bool
    unused: int
    expired: bool
    session_over: bool
    session_revoked: bool

    def repeats_lost_answer(self, grace_seconds: float) -> bool:
        """Whether a used token may be sent once more: just used, nothing used since, and not over and over."""
        since = self.seconds_since_use
        return since is not None and since < grace_seconds and self.newest_used and self.unused < UNUSED_MAX
