"""Where the video of a post is, asked from the scheduler: an address may hold a signature, so no event carries it whole."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure
from publisher.domain.outcomes import Reason
from publisher.domain.source_troubles import SOURCE_UNKNOWN
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.errors import CallFailed

_AWAY = Reason(
    "scheduler_unavailable", "The address of the video could not be looked up.", "Nothing to do; it is tried again."
)


class _Source(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    source_url: str


class SchedulerClient:
    """Asks the scheduler."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def source_url(self, post_id: UUID) -> str:
        """Return the address of a post's video, never to be logged or told. Raises CallFailed."""
        try:
            return _Source.model_validate(await self._service.get(f"/internal/posts/{post_id}/source")).source_url
        except Problem as problem:
            trouble = SOURCE_UNKNOWN if problem.code == "post_not_found" else Trouble(TroubleKind.NOT_SENT, _AWAY)
            raise CallFailed(trouble) from None
        except (ServiceFailure, ValidationError) as error:
            wait = error.retry_after if isinstance(error, ServiceFailure) else None
            raise CallFailed(Trouble(TroubleKind.NOT_SENT, _AWAY, wait)) from None
