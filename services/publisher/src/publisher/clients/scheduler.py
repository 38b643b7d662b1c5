"""Where a post's video or photos are, asked from the scheduler: an address may hold a signature, so no event tells it whole."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import Problem
from common.http.client import ServiceClient, ServiceFailure
from publisher.domain.outcomes import Reason
from publisher.domain.source_troubles import SOURCE_UNKNOWN
from publisher.domain.troubles import Trouble, TroubleKind
from publisher.errors import CallFailed

_AWAY = Reason("scheduler_unavailable", "The post's addresses could not be looked up.", "Nothing to do; it is tried again.")


class Addresses(BaseModel):
    """Whole addresses, never to be logged, stored or told."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    source_url: str | None
    photo_urls: list[str]

    def __repr__(self) -> str:
        return "Addresses()"


class SchedulerClient:
    """Asks the scheduler."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def addresses(self, post_id: UUID) -> Addresses:
        """Return the addresses of a post's video or photos. Raises CallFailed."""
        try:
            return Addresses.model_validate(await self._service.get(f"/internal/posts/{post_id}/addresses"))
        except Problem as problem:
            trouble = SOURCE_UNKNOWN if problem.code == "post_not_found" else Trouble(TroubleKind.NOT_SENT, _AWAY)
            raise CallFailed(trouble) from None
        except (ServiceFailure, ValidationError) as error:
            wait = error.retry_after if isinstance(error, ServiceFailure) else None
            raise CallFailed(Trouble(TroubleKind.NOT_SENT, _AWAY, wait)) from None
