"""Shapes of webhooks."""

from uuid import UUID

from pydantic import BaseModel


class TikTokWebhook(BaseModel):
    """What TikTok sends; events that are not known yet are taken too."""

    client_key: str
    event: str
    create_time: int
    user_openid: str = ""
    content: str = ""


class WebhookTaken(BaseModel):
    """Stored; `id` is the id of the event `gateway.webhook.received`."""

    id: UUID
