"""API keys: what is shown of them after they were made."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

KEY_MARK = "cpk_"
PREFIX_LENGTH = len(KEY_MARK) + 8
NAME_MAX = 100
KEYS_PER_USER = 50


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadKey:
    """A key that is not good any more, and why."""

    id: UUID
    user_id: UUID
    reason: Literal["expired", "revoked"]


def prefix_of(key: str) -> str:
    """Return the part of a key that may be shown to tell keys apart."""
    return key[:PREFIX_LENGTH]
