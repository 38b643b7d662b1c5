"""Which privacy levels a creator may choose, as far as that is known within a second."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient

PATIENCE_S = 1.0
FRESH_S = 60.0
SILENCE_S = 5.0
"""After a call that failed nobody waits for the next one that long: many creates must not each wait a second."""
MAX_KNOWN = 10_000

_log = structlog.get_logger(__name__)


class _CreatorInfo(BaseModel):
    model_config = ConfigDict(extra="ignore")
    privacy_level_options: list[str]


class CreatorOptions:
    """Asks accounts for creator info; answers are kept for a minute, failures for 5 seconds, for at most 10,000 accounts."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._known: OrderedDict[UUID, tuple[float, tuple[str, ...] | None]] = OrderedDict()

    async def privacy_levels(self, account_id: UUID, user_id: UUID) -> Sequence[str] | None:
        """Return the levels that this creator may choose, None when that cannot be found out now."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(account_id)
        if known is not None and now < known[0]:
            return known[1]
        levels = await self._ask(account_id, user_id)
        self._known[account_id] = (now + (FRESH_S if levels is not None else SILENCE_S), levels)
        self._known.move_to_end(account_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return levels

    async def _ask(self, account_id: UUID, user_id: UUID) -> tuple[str, ...] | None:
        path = f"/internal/accounts/{account_id}/creator-info"
        try:
            body = await self._client.get(path, params={"user_id": str(user_id)}, timeout=PATIENCE_S)
            return tuple(_CreatorInfo.model_validate(body).privacy_level_options)
        except (Problem, Transient, ValidationError) as error:
            _log.info("creator_info_unknown", account_id=str(account_id), reason=type(error).__name__)
            return None
