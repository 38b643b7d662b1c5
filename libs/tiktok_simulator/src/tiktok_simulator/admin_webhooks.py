"""Admin API of grants and webhooks: withdraw a grant as a creator does, send any webhook, see what became of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from tiktok_simulator.personas import Creator
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter(prefix="/_simulator", tags=["simulator"])
State = Annotated[Simulator, Depends(simulator_of)]


class WithdrawalInput(BaseModel):
    """Why: 0 unknown, 1 the creator disconnected the app, 2 account deleted, 3 age changed, 4 banned, 5 revoked by the app."""

    model_config = ConfigDict(extra="forbid")

    reason: int = Field(1, ge=0, le=5)


class WebhookInput(BaseModel):
    """A webhook to send as it is given; ``create_time`` in Unix seconds, now by default."""

    model_config = ConfigDict(extra="forbid")

    event: str = Field(min_length=1, max_length=200)
    username: str
    content: dict[str, Any] = {}
    create_time: int | None = None


@router.post("/creators/{username}/withdraw")
async def withdraw(simulator: State, username: str, given: WithdrawalInput | None = None) -> dict[str, Any]:
    """Take the app's access away; tells whether there was any."""
    creator = _creator(simulator, username)
    return {"username": username, "withdrawn": simulator.withdraw(creator.open_id, (given or WithdrawalInput()).reason)}


@router.get("/webhooks")
async def webhooks(simulator: State) -> dict[str, Any]:
    """Return the newest webhooks, oldest first, with what became of them."""
    return {"items": simulator.webhooks.items()}


@router.post("/webhooks", status_code=202)
async def send_webhook(simulator: State, given: WebhookInput) -> dict[str, Any]:
    """Send a webhook; 409 when the app has no callback address."""
    if not simulator.settings.webhook_url:
        raise HTTPException(409, "SIMULATOR_WEBHOOK_URL is not set")
    creator = _creator(simulator, given.username)
    simulator.webhooks.tell(given.event, creator.open_id, given.content, create_time=given.create_time)
    return {"event": given.event, "user_openid": creator.open_id}


def _creator(simulator: Simulator, username: str) -> Creator:
    creator = simulator.creators.named(username)
    if creator is None:
        raise HTTPException(404, f"no creator is called {username!r}")
    return creator
