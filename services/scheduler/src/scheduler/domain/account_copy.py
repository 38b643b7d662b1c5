"""The scheduler's copy of a TikTok account: what it needs to decide whether posts may go out."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class AccountCopy:
    """`version` is the accounts service's; older news are ignored. `deleted` means disconnected by its owner."""

    id: UUID
    user_id: UUID
    username: str
    status: str
    version: int
    deleted: bool = False

    @property
    def hold_reason(self) -> str | None:
        """Return the code of why posts of this account wait, or None while it may publish."""
        return {"inactive": "account_inactive", "expired": "account_expired"}.get(self.status)
