"""TikTok's webhooks about publications; the gateway has verified them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from common.contracts.envelope import Envelope
from common.contracts.gateway import WebhookReceived
from common.database import Transaction
from common.errors import Permanent
from common.messaging.routes import EventRoute, on_event
from common.messaging.topology import events_queue
from publisher.usecases.hear_claim import hear_claim
from tiktok.publish_webhooks import PREFIX, publish_claim
from tiktok.webhooks import WebhookRefused

PREFETCH = 20
QUEUE = events_queue("publisher.webhooks", WebhookReceived.KEY, prefetch=PREFETCH)

_log = structlog.get_logger(__name__)


def webhook_routes(wakes: Sequence[Callable[[], None]]) -> Sequence[EventRoute]:
    """Return the route; `wakes` make the runners look at once after a commit that made jobs due.

    Webhooks about anything else are passed over. Raises Permanent for one that names no publication.
    """

    async def handle(tx: Transaction, event: WebhookReceived, _: Envelope) -> None:
        try:
            claim = publish_claim(event.event, event.content)
        except WebhookRefused as refused:
            raise Permanent(f"{event.event}: {refused.reason}") from None
        if claim is None:
            if event.event.startswith(PREFIX):
                _log.warning("webhook_not_known", name=event.event)
            return
        await hear_claim(tx, claim, event.user_openid, datetime.fromtimestamp(event.create_time, UTC), wakes=wakes)

    return [on_event(WebhookReceived, handle)]
