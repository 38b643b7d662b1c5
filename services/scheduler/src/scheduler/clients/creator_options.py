"""What a creator may choose and post, as far as that is known within a second."""

from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient
from scheduler.clients.remembered import PATIENCE_S, Remembered
from scheduler.domain.creator import Creator
from scheduler.domain.finding import Finding

ACCOUNT_FIELD = "tiktok_account_id"

_log = structlog.get_logger(__name__)


class _CreatorInfo(BaseModel):
    model_config = ConfigDict(extra="ignore")
    privacy_level_options: list[str]
    max_video_post_duration_sec: int | None = Field(default=None, gt=0)


class CreatorOptions:
    """Asks accounts for creator info, and remembers it for a minute."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self.remembered = Remembered(self._ask)

    async def look(self, account_id: UUID, user_id: UUID, *, patience: float = PATIENCE_S) -> Creator | None:
        """Return what this creator may post now, None when that cannot be found out within `patience` seconds."""
        return await self.remembered.look(account_id, user_id, patience=patience)

    async def _ask(self, account_id: UUID, user_id: UUID, patience: float) -> Creator | None:
        path = f"/internal/users/{user_id}/accounts/{account_id}/creator-info"
        try:
            body = await self._client.get(path, timeout=patience)
            info = _CreatorInfo.model_validate(body)
        except Problem as problem:
            if problem.status == 409 and problem.code.startswith("tiktok_"):
                return Creator(refusal=Finding(ACCOUNT_FIELD, problem.code, problem.detail, problem.hint))
            _log_unknown(account_id, problem.code)
            return None
        except (Transient, ValidationError) as error:
            _log_unknown(account_id, type(error).__name__)
            return None
        return Creator(tuple(info.privacy_level_options), info.max_video_post_duration_sec)


def _log_unknown(account_id: UUID, reason: str) -> None:
    _log.info("creator_info_unknown", account_id=str(account_id), reason=reason)
