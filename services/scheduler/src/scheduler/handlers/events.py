"""Events of the publisher and of accounts."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.contracts import accounts, publisher
from common.contracts.envelope import Envelope
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from common.messaging.routes import EventRoute, on_event
from scheduler.usecases.apply_account_event import apply_account_event
from scheduler.usecases.apply_publish_event import PublishRules, apply_publish_event
from scheduler.usecases.waker import Waker

PUBLISH_EVENTS: tuple[type[publisher.PublishEvent], ...] = (
    publisher.PublishStarted,
    publisher.PublishDeferred,
    publisher.PublishSubmitted,
    publisher.PublishSucceeded,
    publisher.PublishFailed,
    publisher.PublishUnconfirmed,
    publisher.PublishCancelled,
    publisher.PublishIdentified,
)
ACCOUNT_EVENTS: tuple[type[accounts.AccountEvent], ...] = (
    accounts.AccountConnected,
    accounts.AccountUpdated,
    accounts.AccountSynced,
    accounts.AccountExpired,
    accounts.AccountDisconnected,
)


@dataclass(frozen=True, slots=True)
class EventHandlers:
    """Handlers of foreign events with what they need."""

    outbox: Outbox
    waker: Waker
    rules: PublishRules

    def publish_routes(self) -> Sequence[EventRoute]:
        """Return the routes of `scheduler.publish_results`."""
        return [on_event(kind, self.on_publish_event) for kind in PUBLISH_EVENTS]

    def account_routes(self) -> Sequence[EventRoute]:
        """Return the routes of `scheduler.accounts`."""
        return [on_event(kind, self.on_account_event) for kind in ACCOUNT_EVENTS]

    async def on_publish_event(self, tx: Transaction, event: publisher.PublishEvent, envelope: Envelope) -> None:
        """Apply what the publisher tells of an attempt."""
        await apply_publish_event(tx, self.outbox, self.waker, self.rules, event, envelope)

    async def on_account_event(self, tx: Transaction, event: accounts.AccountEvent, envelope: Envelope) -> None:
        """Follow an account."""
        await apply_account_event(tx, self.outbox, self.waker, event, envelope)
