"""A trace through requests: accepted at the first service, sent along with every internal call, in the log lines of both."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Request
from structlog.contextvars import get_contextvars

from common.contracts.traceparent import trace_id_of
from common.http.app import create_app
from common.http.client import ServiceClient, internal_client
from common.http.identity import caller, request_context
from common.testing.http_server import serving
from common.testing.keys import ServiceKeys, UserKeys

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def shown(request: Request) -> dict[str, Any]:
    return {"traceparent": request_context(request).traceparent, "logged": get_contextvars().get("trace_id")}


@pytest.fixture
async def outer(user_keys: UserKeys, service_keys: ServiceKeys) -> AsyncIterator[httpx.AsyncClient]:
    """Run a service that asks another one, and give a client of the first."""
    below, above = APIRouter(), APIRouter()

    @below.get("/below")
    async def answer(request: Request, _: Annotated[str, Depends(caller("gateway"))]) -> dict[str, Any]:
        return shown(request)

    @above.get("/above")
    async def ask(request: Request) -> dict[str, Any]:
        return shown(request) | {"below": await request.app.state.client.get("/below")}

    def app_of(name: str, router: APIRouter) -> Any:
        tokens = service_keys.verifier(name)
        return create_app(
            service=name, title="t", version="1", routers=[router], user_tokens=user_keys.verifier(), service_tokens=tokens
        )

    async with serving(app_of("accounts", below)) as url, internal_client() as http:
        first = app_of("gateway", above)
        first.state.client = ServiceClient(http, url, audience="accounts", signer=service_keys.signer("gateway"))
        async with serving(first) as outer_url, httpx.AsyncClient(base_url=outer_url, trust_env=False) as client:
            yield client


async def test_a_callers_trace_goes_through_all_services(outer: httpx.AsyncClient) -> None:
    answer = (await outer.get("/above", headers={"traceparent": GOOD})).json()
    expected = {"traceparent": GOOD, "logged": trace_id_of(GOOD)}
    assert answer == expected | {"below": expected}


@pytest.mark.parametrize("sent", [[], [("traceparent", "nonsense")], [("traceparent", GOOD), ("traceparent", GOOD)]])
async def test_without_a_good_one_the_first_service_begins_a_trace(
    outer: httpx.AsyncClient, sent: list[tuple[str, str]]
) -> None:
    first, second = [(await outer.get("/above", headers=sent)).json() for _ in range(2)]
    for answer in (first, second):
        made = answer["traceparent"]
        assert trace_id_of(made) not in (None, trace_id_of(GOOD))
        assert answer["logged"] == trace_id_of(made)
        assert answer["below"] == {"traceparent": made, "logged": trace_id_of(made)}
    assert first["traceparent"] != second["traceparent"]


async def test_bytes_beyond_ascii_are_no_trace(outer: httpx.AsyncClient) -> None:
    answer = await outer.get("/above", headers=[(b"traceparent", b"\xff" + GOOD.encode())])
    assert answer.status_code == 200
    assert answer.json()["logged"] is not None
