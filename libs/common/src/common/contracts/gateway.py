"""Events of the gateway."""

from typing import Any, ClassVar, Literal
from uuid import UUID

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


class AccessRefused(Event):
    """Requests were refused because their API key lacks the right, a scope or `session` for what takes a person's login.

    Emitted at most once a minute for each key and right by each gateway; `times` counts the refusals since the last one was told
    of, `operation` is the latest.
    """

    KEY: ClassVar[str] = "gateway.access.refused.v1"
    api_key_id: UUID | None
    user_id: UUID
    right: str
    operation: str
    times: int = Field(ge=1)


class SessionRefused(Event):
    """Requests were refused because the session of their access token was revoked.

    Emitted at most once a minute for each session by each gateway; `times` counts the refusals since the last one was told of,
    `operation` is the latest.
    """

    KEY: ClassVar[str] = "gateway.session.refused.v1"
    session_id: UUID
    user_id: UUID
    reason: Literal["revoked"]
    operation: str
    times: int = Field(ge=1)
