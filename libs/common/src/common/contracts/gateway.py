"""Events of the gateway."""

from typing import Any, ClassVar

from pydantic import Field

from common.contracts.message import Event


class WebhookReceived(Event):
    """TikTok told something; the signature was right, and the app was ours.

    Its `id` is the UUIDv5 of the signed body, so that TikTok's repeats are duplicates for every consumer; its `time` is
    `create_time`, in Unix seconds. `content` is the object in TikTok's content string, ids as strings, or that string when it
    holds none. Subject is `user_openid`.
    """

    KEY: ClassVar[str] = "gateway.webhook.received.v1"
    client_key: str
    event: str
    create_time: int = Field(ge=0, le=253_402_300_799)
    user_openid: str
    content: dict[str, Any] | str
