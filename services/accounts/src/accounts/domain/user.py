"""People and their sessions."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


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
    """A stored refresh token with the state of its session, both read under a lock."""

    session_id: UUID
    user_id: UUID
    used: bool
    expired: bool
    session_over: bool
