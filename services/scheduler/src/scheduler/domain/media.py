"""A file of the media library as the scheduler knows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

OBJECTS, THUMBNAILS = "media/", "thumbnails/"
"""Where object storage keeps the library's bytes and the pictures made of them."""


class MediaStatus(StrEnum):
    """`processing` until the probe has judged the file."""

    PROCESSING = "processing"
    READY = "ready"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Media:
    """One file with all its columns; the facts of the probe are None until it has run.

    `storage_key` names the bytes, which several files of one user may share.
    """

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
    command_id: UUID | None

    @property
    def is_photo(self) -> bool:
        """Whether it is a picture: photo posts take it, video posts do not."""
        return self.content_type.startswith("image/")


def thumbnail_key(storage_key: str) -> str:
    """Return where the thumbnail of an object lies."""
    return f"{THUMBNAILS}{storage_key.removeprefix(OBJECTS)}"


def object_of_thumbnail(key: str) -> str:
    """Return the object a thumbnail belongs to."""
    return f"{OBJECTS}{key.removeprefix(THUMBNAILS)}"
