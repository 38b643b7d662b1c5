"""The envelope of every message: a CloudEvents 1.0 structured JSON event.

Source: CloudEvents 1.0 specification, JSON event format. Extension names are lower case letters as the specification asks.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.message import Message
from common.ids import uuid7

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "cuepost."


class Envelope(BaseModel):
    """A message that is complete wherever it is found; unknown attributes are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    type: str = Field(pattern=r"^cuepost\.[a-z0-9_.]+$", max_length=200)
    source: str = Field(max_length=200)
    subject: str = Field(max_length=200)
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: dict[str, Any]
    userid: UUID | None = None
    actor: str | None = None
    clientip: str | None = None
    useragent: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    sequence: str | None = Field(default=None, pattern=r"^[0-9]{10}$")
    traceparent: str | None = None
    requesthash: str | None = None
    """Commands only: SHA-256 over query, body and If-Match; the same id with another hash is a reused idempotency key."""

    @property
    def key(self) -> str:
        """The routing key: `type` without the product's prefix."""
        return self.type.removeprefix(TYPE_PREFIX)

    @property
    def sequence_number(self) -> int:
        """`sequence` as a number, 0 when the message carries none."""
        return int(self.sequence or 0)

    @property
    def context(self) -> Context:
        """The context for what a handler of this message emits: same user and correlation, caused by this message."""
        return Context(
            user_id=self.userid,
            actor=self.actor,
            client_ip=self.clientip,
            user_agent=self.useragent,
            correlation_id=self.correlationid,
            causation_id=str(self.id),
            traceparent=self.traceparent,
        )

    def to_bytes(self) -> bytes:
        """Return the JSON body; attributes without a value are left out, as CloudEvents asks."""
        return self.model_dump_json(exclude_none=True).encode()


def wrap(
    message: Message,
    *,
    service: str,
    subject: str,
    context: Context,
    sequence: int | None = None,
    envelope_id: UUID | None = None,
    time: datetime | None = None,
    request_hash: str | None = None,
) -> Envelope:
    """Put a message into an envelope from `service`; `sequence` counts per (`source`, `subject`)."""
    return Envelope(
        id=envelope_id or uuid7(),
        type=TYPE_PREFIX + message.KEY,
        source=f"/services/{service}",
        subject=subject,
        time=time or utc_now(),
        data=message.to_data(),
        userid=context.user_id,
        actor=context.actor,
        clientip=context.client_ip,
        useragent=context.user_agent,
        correlationid=context.correlation_id,
        causationid=context.causation_id,
        sequence=None if sequence is None else f"{sequence:010d}",
        traceparent=context.traceparent,
        requesthash=request_hash,
    )
