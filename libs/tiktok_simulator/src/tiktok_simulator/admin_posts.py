"""Admin API of what creators do themselves: post or discard drafts, change or delete posts; and the clock."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from tiktok_simulator.publications import Post, Publication
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter(prefix="/_simulator", tags=["simulator"])
State = Annotated[Simulator, Depends(simulator_of)]
Privacy = Literal["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"]


class DraftInput(BaseModel):
    """What the creator sets in the app; the title of a photo draft is the one it came with unless another is given."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = None
    privacy_level: Privacy = "PUBLIC_TO_EVERYONE"


class PrivacyInput(BaseModel):
    """Who may see a post from now on."""

    model_config = ConfigDict(extra="forbid")

    privacy_level: Privacy


class ClockInput(BaseModel):
    """How many seconds to put the clock forward."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(gt=0, le=10 * 365 * 86400)


@router.post("/drafts/{publish_id}/publish", status_code=201)
async def publish_draft(simulator: State, publish_id: str, given: DraftInput | None = None) -> dict[str, Any]:
    """Post a draft that was delivered, as its creator does in the app; it can be posted again. 409 when it is not there."""
    draft = _draft(simulator, publish_id)
    chosen = given or DraftInput()
    draft.draft = "posted"
    post = simulator.feed.publish(draft, draft.title if chosen.title is None else chosen.title, chosen.privacy_level)
    return {"publish_id": publish_id, "post_id": post.post_id}


@router.post("/drafts/{publish_id}/discard", status_code=204)
async def discard_draft(simulator: State, publish_id: str) -> Response:
    """Throw a draft away, as its creator does in the app. The app never hears of it. 409 when it is not there."""
    draft = _draft(simulator, publish_id)
    draft.draft = "discarded"
    simulator.ledger.store(draft)
    return Response(status_code=204)


@router.post("/posts/{post_id}/privacy", status_code=204)
async def change_privacy(simulator: State, post_id: str, given: PrivacyInput) -> Response:
    """Change who may see a post, as its creator does in the app."""
    simulator.feed.change_privacy(*_post(simulator, post_id), given.privacy_level)
    return Response(status_code=204)


@router.delete("/posts/{post_id}", status_code=204)
async def delete_post(simulator: State, post_id: str) -> Response:
    """Delete a post, as its creator does in the app."""
    simulator.feed.delete(*_post(simulator, post_id))
    return Response(status_code=204)


@router.get("/clock")
async def read_clock(simulator: State) -> dict[str, float]:
    """Return the simulator's time in Unix seconds, and how far it is ahead of the machine's."""
    return {"now": simulator.clock.now(), "ahead": simulator.clock.ahead}


@router.post("/clock")
async def advance_clock(simulator: State, given: ClockInput) -> dict[str, float]:
    """Put the clock forward: tokens, upload addresses, minutes and days end, processing and moderation are over."""
    simulator.clock.advance(given.seconds)
    return await read_clock(simulator)


def _draft(simulator: Simulator, publish_id: str) -> Publication:
    publication = simulator.ledger.get(publish_id)
    if publication is None:
        raise HTTPException(404, "there is no such publication")
    if publication.draft not in {"waiting", "posted"}:
        raise HTTPException(409, "the creator has no such draft")
    return publication


def _post(simulator: Simulator, post_id: str) -> tuple[Publication, Post]:
    found = simulator.ledger.of_post(post_id)
    if found is None:
        raise HTTPException(404, "there is no such post")
    return found
