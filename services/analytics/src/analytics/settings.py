"""Settings of analytics, read from the environment."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from common.settings import DatabaseSettings, ServiceSettings


class Settings(ServiceSettings, DatabaseSettings):
    """What analytics needs besides the settings of every service."""

    SERVICE: ClassVar[str] = "analytics"

    http_port: int = Field(default=8403, ge=0, le=65535)
    event_retention_days: int = Field(default=400, ge=31, le=36_500)
    event_batch_size: int = Field(default=500, ge=1, le=5_000)

    @property
    def retention(self) -> timedelta:
        """How long events are kept, at least: whole months are dropped."""
        return timedelta(days=self.event_retention_days)
