"""Event consumption: one delivery, one transaction holding the inbox row and the effect."""

from collections.abc import Sequence

from common.contracts.registry import parse
from common.database.database import Database
from common.messaging.consumer import Handle
from common.messaging.inbox import Inbox
from common.messaging.incoming import Incoming, work_for
from common.messaging.routes import EventRoute


def handle_events(database: Database, inbox: Inbox, routes: Sequence[EventRoute]) -> Handle:
    """Return the handler of an event queue.

    Guarantee: the effect of an event happens once, however often it is delivered. Types without a route are acknowledged: newer
    producers may send what this version does not know.
    """
    by_key = {route.kind.KEY: route for route in routes}

    async def handle(incoming: Incoming) -> None:
        envelope = incoming.envelope()
        route = by_key.get(envelope.key)
        if route is None:
            return
        event = parse(envelope, route.kind)
        with work_for(envelope):
            async with database.transaction() as tx:
                if await inbox.first_time(tx, incoming.queue, envelope.id):
                    await route.handle(tx, event, envelope)

    return handle
