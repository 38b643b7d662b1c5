"""Pages and health of the simulator itself."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

from tiktok_simulator.overview import overview_page
from tiktok_simulator.pages import avatar
from tiktok_simulator.publications import Publication
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
    """Show the creators, the newest publications, the faults that are left, and the clock."""
    creators = [
        {**creator.model_dump(), "connected": simulator.grants.connected(creator.open_id)}
        for creator in simulator.creators.all()
    ]
    newest = list(reversed(simulator.ledger.all()[-_SHOWN:]))
    items = [{**simulator.ledger.item(item), "media": _media(simulator, item)} for item in newest]
    return overview_page(creators, items, len(simulator.ledger), simulator.faults.items(), simulator.clock.ahead)


@router.get("/_simulator/media/{publish_id}/{index}")
async def media(simulator: State, publish_id: str, index: int) -> Response:
    """Return the bytes of a video, or of one photo, that are still there; ranges are supported."""
    publication = simulator.ledger.get(publish_id)
    paths = simulator.uploads.media(publication) if publication is not None and publication.sha256 is not None else []
    if publication is None or not 0 <= index < len(paths):
        raise HTTPException(404)
    fallback = "image/jpeg" if publication.media_type == "photo" else "video/mp4"
    return FileResponse(paths[index], media_type=publication.content_type or fallback)


def _media(simulator: Simulator, publication: Publication) -> list[str]:
    if publication.sha256 is None:
        return []
    count = len(simulator.uploads.media(publication))
    return [f"/_simulator/media/{publication.publish_id}/{index}" for index in range(count)]


@router.get("/_simulator/avatars/{username}.svg")
async def avatar_svg(simulator: State, username: str) -> Response:
    """Return a creator's picture."""
    creator = simulator.creators.named(username)
    if creator is None:
        raise HTTPException(404)
    return Response(avatar(creator), media_type="image/svg+xml")
