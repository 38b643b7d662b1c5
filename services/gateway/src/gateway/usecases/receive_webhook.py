"""Take in what TikTok tells: only signed, recent webhooks for our app become events, each body one event."""

import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.gateway import WebhookReceived
from common.errors import Problem
from gateway.clients.event_sender import EventNotSent, EventSender
from gateway.domain.webhook_identity import webhook_id
from tiktok.webhooks import RefusalKind, WebhookEvent, WebhookRefused, parse_event, verify

ACTOR = "webhook:tiktok"
RETRY_AFTER_S = 5
NOT_CONFIGURED_RETRY_AFTER_S = 600


@dataclass(frozen=True, slots=True)
class WebhookApp:
    """The TikTok app whose webhooks are taken; without key or secret none can be checked. `tolerance` is in seconds."""

    client_key: str
    client_secret: SecretStr = field(repr=False)
    tolerance: float

    @property
    def configured(self) -> bool:
        """Whether signatures can be checked."""
        return bool(self.client_key and self.client_secret.get_secret_value())


class Webhooks:
    """Turns webhooks into events."""

    def __init__(self, app: WebhookApp, sender: EventSender, *, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._sender = sender
        self._clock = clock

    def check_configured(self) -> None:
        """Raise Problem 503 `webhooks_not_configured` when signatures cannot be checked."""
        if not self._app.configured:
            raise Problem(
                503,
                "webhooks_not_configured",
                "This installation takes no webhooks: it does not know the TikTok app's key and secret.",
                hint="Set TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET for the gateway.",
                headers={"Retry-After": str(NOT_CONFIGURED_RETRY_AFTER_S)},
            )

    async def receive(self, signatures: Sequence[str], body: bytes, context: Context) -> Envelope:
        """Publish a webhook as `gateway.webhook.received` and return its envelope once RabbitMQ has confirmed it.

        Raises Problem 401 `invalid_signature` (also for a stale one), 403 `wrong_client_key`, 422 `invalid_webhook`, and 503
        `service_unavailable` when the event is not confirmed.
        """
        self.check_configured()
        try:
            verify(signatures, body, self._app.client_secret, now=self._clock(), tolerance=self._app.tolerance)
            event = parse_event(body)
        except WebhookRefused as refused:
            raise _refusal(refused) from None
        if not hmac.compare_digest(event.client_key.encode(), self._app.client_key.encode()):
            raise Problem(403, "wrong_client_key", "The webhook is about another TikTok app.")
        envelope = _envelope(event, body, context)
        try:
            await self._sender.send(envelope)
        except EventNotSent:
            raise Problem(
                503,
                "service_unavailable",
                "The webhook could not be stored.",
                hint="Send it again in a few seconds.",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
        return envelope


def _envelope(event: WebhookEvent, body: bytes, context: Context) -> Envelope:
    """Return an envelope in which all that consumers compare follows from the body alone."""
    return wrap(
        WebhookReceived(
            client_key=event.client_key,
            event=event.event,
            create_time=event.create_time,
            user_openid=event.user_openid,
            content=event.content,
        ),
        service="gateway",
        subject=event.user_openid or event.client_key,
        context=context,
        envelope_id=webhook_id(body),
        time=datetime.fromtimestamp(event.create_time, UTC),
    )


def _refusal(refused: WebhookRefused) -> Problem:
    if refused.kind is RefusalKind.MALFORMED:
        return Problem(422, "invalid_webhook", f"The signature is right, the content is not. {refused.reason}")
    return Problem(
        401,
        "invalid_signature",
        refused.reason,
        hint="Sign the raw body with the app's secret; WEBHOOK_TOLERANCE_SECONDS says how old a signature may be.",
        headers={"WWW-Authenticate": "Tiktok-Signature"},
    )
