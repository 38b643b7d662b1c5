"""Shapes of the media library."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class MediaProblem(BaseModel):
    """A rule that a file breaks, with what was found and what is allowed where there is such a thing."""

    field: str
    code: str
    message: str
    found: str | None = None
    allowed: str | None = None
    hint: str | None = None


class Media(BaseModel):
    """A file of the media library; what the probe finds is null until it has run. `problems` are why it was rejected."""

    id: UUID
    status: Literal["processing", "ready", "rejected"]
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    problems: list[MediaProblem] = []
    created_at: datetime
