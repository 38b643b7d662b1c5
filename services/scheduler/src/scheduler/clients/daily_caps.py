"""How full an account's day is, as far as the publisher, who counts, can be asked within a second."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient
from scheduler.clients.remembered import Remembered
from scheduler.domain.daily_cap import Day

MODES = ("direct", "inbox")
MOST_MOMENTS = 1000

_log = structlog.get_logger(__name__)


class _Day(BaseModel):
    model_config = ConfigDict(extra="ignore")
    allowed: int | None = Field(ge=1, le=MOST_MOMENTS)
    window_seconds: float = Field(gt=0, le=7 * 86_400)
    moments: list[AwareDatetime] = Field(max_length=MOST_MOMENTS)
    not_before: AwareDatetime | None


class DailyCaps:
    """Asks the publisher for an account's day, and remembers it for a minute."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self.remembered: Mapping[str, Remembered[Day]] = {mode: Remembered(partial(self._ask, mode)) for mode in MODES}

    async def look(self, account_id: UUID, user_id: UUID, mode: str) -> Day | None:
        """Return the day for posts of a mode, None when that cannot be found out within a second."""
        return await self.remembered[mode].look(account_id, user_id)

    async def _ask(self, mode: str, account_id: UUID, _user_id: UUID, patience: float) -> Day | None:
        path = f"/internal/accounts/{account_id}/day"
        try:
            found = _Day.model_validate(await self._client.get(path, params={"mode": mode}, timeout=patience))
        except (Problem, Transient, ValidationError) as error:
            _log.info("day_unknown", account_id=str(account_id), mode=mode, reason=type(error).__name__)
            return None
        return Day(found.allowed, timedelta(seconds=found.window_seconds), tuple(found.moments), found.not_before)
