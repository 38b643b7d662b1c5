"""Pages and health of the simulator itself."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse, Response

from tiktok_simulator.pages import avatar, overview_page
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter()
State = Annotated[Simulator, Depends(simulator_of)]
_SHOWN = 100


@router.get("/healthz")
async def healthz(simulator: State) -> dict[str, Any]:
    """Return 200 while the simulator runs."""
    return {"status": "ok", "publications": len(simulator.ledger)}


@router.get("/", response_class=HTMLResponse)
async def overview(simulator: State) -> str:
    """Show the creators and the newest publications."""
    creators = [
        {**creator.model_dump(), "connected": simulator.grants.connected(creator.open_id)}
        for creator in simulator.creators.all()
    ]
    newest = list(reversed(simulator.ledger.all()[-_SHOWN:]))
    return overview_page(creators, [simulator.ledger.item(item) for item in newest], len(simulator.ledger))


@router.get("/_simulator/avatars/{username}.svg")
async def avatar_svg(simulator: State, username: str) -> Response:
    """Return a creator's picture."""
    creator = simulator.creators.named(username)
    if creator is None:
        raise HTTPException(404)
    return Response(avatar(creator), media_type="image/svg+xml")
