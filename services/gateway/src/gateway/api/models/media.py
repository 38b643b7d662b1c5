"""Shapes of the media library."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class Media(BaseModel):
    """A file of the media library; what the probe finds is null until it has run."""

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
    created_at: datetime
