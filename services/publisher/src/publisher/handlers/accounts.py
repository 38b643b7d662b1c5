"""Account events that begin or end a wait."""

from collections.abc import Callable, Sequence

from common.contracts.accounts import AccountConnected, AccountDisconnected, AccountEvent, AccountExpired, AccountUpdated
from common.contracts.envelope import Envelope
from common.database import Transaction
from common.messaging.routes import EventRoute, on_event
from common.messaging.topology import events_queue
from publisher.usecases.follow_account import follow_account

KINDS: tuple[type[AccountEvent], ...] = (AccountConnected, AccountUpdated, AccountExpired, AccountDisconnected)
PREFETCH = 20
QUEUE = events_queue("publisher.accounts", *(kind.KEY for kind in KINDS), prefetch=PREFETCH)


def account_routes(wakes: Sequence[Callable[[], None]]) -> Sequence[EventRoute]:
    """Return the routes; `wakes` make the runners look at once after a commit that made jobs due."""

    async def handle(tx: Transaction, event: AccountEvent, envelope: Envelope) -> None:
        await follow_account(tx, event, envelope.sequence_number, wakes=wakes)

    return [on_event(kind, handle) for kind in KINDS]
