"""A file of the media library as the scheduler knows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class MediaStatus(StrEnum):
    """`processing` until the probe has judged the file."""

    PROCESSING = "processing"
    READY = "ready"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Media:
    """One file with all its columns; the facts of the probe are None until it has run."""

    id: UUID
    user_id: UUID
    status: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    storage_key: str
    container: str | None
    duration_ms: int | None
    width: int | None
    height: int | None
    fps: float | None
    video_codec: str | None
    problems: list[dict[str, Any]]
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
