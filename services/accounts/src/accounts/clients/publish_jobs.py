"""Asking the publisher whether jobs of an account are under way."""

from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure

ANSWER_SECONDS = 3.0

log = structlog.get_logger(__name__)


class _OpenJobs(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    open_jobs: int = Field(ge=0)


class PublishJobs:
    """The publisher's jobs."""

    def __init__(self, publisher: ServiceClient) -> None:
        self._publisher = publisher

    async def may_be_under_way(self, account_id: UUID) -> bool:
        """Return False only on the publisher's word that no job of the account is open."""
        try:
            answer = await self._publisher.get(f"/internal/accounts/{account_id}/open-jobs", timeout=ANSWER_SECONDS)
            return _OpenJobs.model_validate(answer).open_jobs > 0
        except (ServiceFailure, Problem, ValidationError) as error:
            log.warning("open_jobs_unknown", account_id=str(account_id), reason=type(error).__name__)
            return True
