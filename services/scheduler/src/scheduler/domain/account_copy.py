"""The scheduler's copy of a TikTok account: what it needs to decide whether posts may go out."""

from dataclasses import dataclass
from uuid import UUID

from scheduler.domain.holds import EXPIRED, PAUSED


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
        """Return the code of why posts of this account wait (`domain/holds.py`), or None while it may publish."""
        return {"inactive": PAUSED.code, "expired": EXPIRED.code}.get(self.status)
