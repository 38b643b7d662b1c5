"""A TikTok account as its events tell of it, and the measures that some of them carry."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from analytics.domain.event import Event
from analytics.domain.event_fields import count_of, moment_of, uuid_of
from analytics.domain.measures import AccountMeasure

STATS_SCOPE: Final = "user.info.stats"
VIDEOS_SCOPE: Final = "video.list"
ACTIVE: Final = "active"
DISCONNECTED: Final = "disconnected"

_CONNECTED: Final = "accounts.account.connected.v1"
_SYNCED: Final = "accounts.account.synced.v1"
_DISCONNECTED: Final = "accounts.account.disconnected.v1"
ACCOUNT_KEYS: Final = (
    _CONNECTED,
    _SYNCED,
    _DISCONNECTED,
    "accounts.account.updated.v1",
    "accounts.account.expired.v1",
)
CLOCKS_DIFFER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class AccountCopy:
    """One account, as the event with the highest sequence told."""

    account_id: UUID
    user_id: UUID
    sequence: int
    status: str
    scopes: tuple[str, ...]

    @property
    def may_be_looked_at(self) -> bool:
        """Whether TikTok tells its numbers."""
        return self.status == ACTIVE and STATS_SCOPE in self.scopes


def follow_account(known: AccountCopy | None, event: Event) -> AccountCopy | None:
    """Return the copy after one more event, `known` itself when it tells nothing new."""
    account_id, sequence = uuid_of(event.subject), event.sequence
    status = DISCONNECTED if event.key == _DISCONNECTED else event.text("status")
    user_id = event.user_id if known is None else known.user_id
    if account_id is None or sequence is None or status is None or user_id is None or event.key not in ACCOUNT_KEYS:
        return known
    if known is not None and sequence <= known.sequence:
        return known
    return AccountCopy(account_id, user_id, sequence, status, _scopes(event))


def measure_in(event: Event, *, recorded_at: datetime) -> AccountMeasure | None:
    """Return what was just read at TikTok when the event tells of it: other events carry older numbers.

    `recorded_at` is when the event was recorded: a measure of later is none.
    """
    if event.key not in {_CONNECTED, _SYNCED} or STATS_SCOPE not in _scopes(event):
        return None
    account_id = uuid_of(event.subject)
    at = moment_of(event.data.get("synced_at")) if event.key == _SYNCED else event.time
    numbers = [count_of(event.data.get(name)) for name in AccountMeasure.COUNTS]
    known = [number for number in numbers if number is not None]
    if account_id is None or at is None or at > recorded_at + CLOCKS_DIFFER or len(known) < len(numbers):
        return None
    return AccountMeasure(account_id, at, *known)


def _scopes(event: Event) -> tuple[str, ...]:
    scopes = event.data.get("scopes")
    return tuple(scope for scope in scopes if isinstance(scope, str)) if isinstance(scopes, list) else ()
