"""What a verified user token says."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class UserClaims:
    """Identity and rights behind a request.

    Exactly one of `session_id` and `api_key_id` is given. `scopes` None means all: a logged-in person, never a key; a set means an
    API key's rights.
    """

    user_id: UUID
    session_id: str | None
    api_key_id: str | None
    scopes: frozenset[str] | None
    issued_at: datetime
    expires_at: datetime
    token_id: str | None = None

    @property
    def actor(self) -> str:
        """`api_key:<id>` or `user:<id>`."""
        return f"api_key:{self.api_key_id}" if self.api_key_id else f"user:{self.user_id}"

    def allows(self, scope: str) -> bool:
        """Whether these claims include a right such as `posts:write`."""
        return self.scopes is None or scope in self.scopes
