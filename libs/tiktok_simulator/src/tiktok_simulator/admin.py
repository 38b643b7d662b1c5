"""The admin API: ledger, faults, creators, statistics, reset. Not TikTok's; for tests and for the curious."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from tiktok_simulator.faults import Fault
from tiktok_simulator.personas import Creator, CreatorInput
from tiktok_simulator.state import Simulator, simulator_of

router = APIRouter(prefix="/_simulator", tags=["simulator"])
State = Annotated[Simulator, Depends(simulator_of)]


@router.get("/ledger")
async def ledger(
    simulator: State,
    publish_id: str | None = None,
    open_id: str | None = None,
    title: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 100_000,
) -> dict[str, Any]:
    """Return the inits in their order, each with what became of it; with a limit the newest ones."""
    wanted = {"publish_id": publish_id, "open_id": open_id, "title": title}
    items = [
        simulator.ledger.item(publication, simulator.uploads.receiving(publication))
        for publication in simulator.ledger.all()
        if all(value is None or getattr(publication, name) == value for name, value in wanted.items())
    ]
    return {"items": items[-limit:]}


@router.post("/faults", status_code=201)
async def add_fault(simulator: State, fault: Fault) -> dict[str, Any]:
    """Order a fault."""
    simulator.faults.add(fault)
    return fault.model_dump(exclude_none=True)


@router.get("/faults")
async def faults(simulator: State) -> dict[str, Any]:
    """Return the orders that are left; one whose times are used up is gone."""
    return {"items": simulator.faults.items()}


@router.delete("/faults", status_code=204)
async def clear_faults(simulator: State) -> Response:
    """Drop all orders and let delayed calls go on."""
    simulator.faults.clear()
    return Response(status_code=204)


@router.get("/creators")
async def creators(simulator: State) -> dict[str, Any]:
    """Return the creators."""
    return {"items": [_item(simulator, creator) for creator in simulator.creators.all()]}


@router.post("/creators", status_code=201)
async def add_creator(simulator: State, given: CreatorInput) -> dict[str, Any]:
    """Add a creator, or change the one of this username."""
    return _item(simulator, simulator.creators.upsert(given))


@router.get("/stats")
async def stats(simulator: State) -> dict[str, Any]:
    """Return answers by endpoint and status, 429s by endpoint, refusals by code, and the chunks that are arriving now."""
    return {**simulator.stats.as_json(), "uploads": simulator.uploads.under_way()}


@router.post("/reset", status_code=204)
async def reset(simulator: State) -> Response:
    """Go back to the beginning."""
    await simulator.reset()
    return Response(status_code=204)


def _item(simulator: Simulator, creator: Creator) -> dict[str, Any]:
    return {**creator.model_dump(), "connected": simulator.grants.connected(creator.open_id)}
