"""What the scheduler asks of the publisher."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient

PROGRESS_PATIENCE_S = 1.0
CANCEL_PATIENCE_S = 2.0
LOOK_PATIENCE_S = 4.0

_log = structlog.get_logger(__name__)


class PublisherAway(Exception):
    """The publisher did not answer, or not in a way that can be understood: nothing was decided."""


class PublisherUndecided(Exception):
    """TikTok fetches the post by itself and was asked to give that up; the publisher knows in a moment."""


class Fetch(BaseModel):
    """How many bytes of the video have come from its address, and how many there are where that is known."""

    model_config = ConfigDict(extra="ignore")
    fetched_bytes: int
    total_bytes: int | None = None


class Upload(BaseModel):
    """How many bytes TikTok has."""

    model_config = ConfigDict(extra="ignore")
    sent_bytes: int
    total_bytes: int


class Reason(BaseModel):
    """Why an attempt waits or ended."""

    model_config = ConfigDict(extra="ignore")
    code: str
    message: str
    hint: str | None = None


class Progress(BaseModel):
    """Where the publisher is with an attempt."""

    model_config = ConfigDict(extra="ignore")
    attempt: int
    step: str | None = None
    fetch: Fetch | None = None
    upload: Upload | None = None
    publish_id: str | None = None
    tiktok_status: str | None = None
    next_step: str | None = None
    next_step_at: datetime | None = None
    reason: Reason | None = None
    updated_at: datetime | None = None

    @property
    def is_fetching(self) -> bool:
        """Whether the video is still to come from its address."""
        return self.step == "fetching"


class _Decision(BaseModel):
    model_config = ConfigDict(extra="ignore")
    outcome: Literal["cancelled", "too_late", "undecided"]


class ToldEvent(BaseModel):
    """An event of the publisher as it answers with it: key, data, and the sequence it belongs to."""

    model_config = ConfigDict(extra="ignore")
    key: str
    data: dict[str, Any]
    sequence: int


class Video(BaseModel):
    """A video of the creator's, and its public address where that is known."""

    model_config = ConfigDict(extra="ignore")
    id: str
    url: str | None = None


class Look(BaseModel):
    """What one more look at TikTok told; of a `live` attempt, the event that tells it; while nobody can know, until when at most.

    `possible_videos` may be the post; newest first.
    """

    model_config = ConfigDict(extra="ignore")
    outcome: Literal["live", "not_published", "unknown", "too_early", "still_processing", "unanswered"]
    event: ToldEvent | None = None
    until: AwareDatetime | None = None
    possible_videos: list[Video] = []


class PublisherClient:
    """Asks the publisher for progress, for its decision on a cancellation, and for one more look at TikTok."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def progress(self, post_id: UUID) -> Progress | None:
        """Return the newest attempt's progress, None when it cannot be had within a second."""
        try:
            body = await self._client.get(f"/internal/posts/{post_id}/progress", timeout=PROGRESS_PATIENCE_S)
            return None if body is None else Progress.model_validate(body)
        except (Problem, Transient, ValidationError) as error:
            _log.info("progress_unknown", post_id=str(post_id), reason=type(error).__name__)
            return None

    async def cancel(self, post_id: UUID, attempt: int) -> bool:
        """Ask to stop an attempt: True when nothing will come of it, False when it is too late.

        Raises PublisherAway, PublisherUndecided. May be repeated: the publisher's decision stays.
        """
        path = f"/internal/posts/{post_id}/cancel"
        try:
            body = await self._client.post(path, json={"attempt": attempt}, timeout=CANCEL_PATIENCE_S)
            outcome = _Decision.model_validate(body).outcome
        except (Problem, Transient, ValidationError) as error:
            raise PublisherAway(type(error).__name__) from error
        if outcome == "undecided":
            raise PublisherUndecided
        return outcome == "cancelled"

    async def look(self, post_id: UUID, attempt: int) -> Look:
        """Let TikTok be asked about the post's attempts up to this one whose outcome is not known; raises PublisherAway."""
        try:
            body = await self._client.post(
                f"/internal/posts/{post_id}/look", json={"attempt": attempt}, timeout=LOOK_PATIENCE_S
            )
            return Look.model_validate(body)
        except (Problem, Transient, ValidationError) as error:
            raise PublisherAway(type(error).__name__) from error
