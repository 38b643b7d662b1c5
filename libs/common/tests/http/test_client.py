import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, Depends, Request, Response

from common.errors import FieldError, Problem, Transient
from common.http.app import create_app
from common.http.client import ServiceClient, ServiceFailure, internal_client
from common.http.identity import caller
from common.testing.eventually import eventually
from common.testing.http_server import serving
from common.testing.keys import ServiceKeys, UserKeys

router = APIRouter()


class Counter:
    now = 0
    most = 0


@router.get("/echo")
async def echo(request: Request) -> dict[str, Any]:
    return {"headers": dict(request.headers), "query": str(request.url.query), "peer": request.client and request.client.port}


@router.post("/only-gateway")
async def only_gateway(body: dict[str, Any], name: str = Depends(caller("gateway"))) -> dict[str, Any]:
    return {"caller": name, "body": body}


@router.get("/answer/{status}")
async def answer(status: int) -> Response:
    return Response(b"" if status == 204 else b"plain", status_code=status, headers={"Set-Cookie": "a=b"})


@router.get("/problem/{status}")
async def problem(status: int) -> None:
    raise Problem(
        status,
        "some_code",
        "Some detail.",
        hint="h",
        errors=[FieldError("f", "c", "m", "fh")],
        headers={"Retry-After": "9"},
        extra={"more": [1]},
    )


@router.get("/false-problem")
async def false_problem() -> Response:
    return Response(b"<html>", status_code=409, media_type="application/problem+json")


@router.get("/hang")
async def hang() -> None:
    await asyncio.Event().wait()


@router.get("/trickle")
async def trickle() -> Response:
    from fastapi.responses import StreamingResponse

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


@router.get("/busy")
async def busy() -> None:
    Counter.now += 1
    Counter.most = max(Counter.most, Counter.now)
    # Nobody leaves before so many are there as may be.
    await eventually(lambda: Counter.most >= 3)
    await asyncio.sleep(0.02)
    Counter.now -= 1


@pytest.fixture(scope="module")
async def base_url(service_keys: ServiceKeys) -> AsyncIterator[str]:
    tokens = service_keys.verifier("accounts")
    app = create_app(service="accounts", title="t", version="1", routers=[router], service_tokens=tokens)
    async with serving(app) as url:
        yield url


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with internal_client() as client:
        yield client


@pytest.fixture
def service(http: httpx.AsyncClient, base_url: str, service_keys: ServiceKeys) -> ServiceClient:
    return ServiceClient(http, base_url + "/", audience="accounts", signer=service_keys.signer("gateway"))


async def test_a_call_carries_the_services_token(service: ServiceClient) -> None:
    assert await service.post("/only-gateway", json={"a": 1}) == {"caller": "gateway", "body": {"a": 1}}


async def test_another_service_is_refused(http: httpx.AsyncClient, base_url: str, service_keys: ServiceKeys) -> None:
    stranger = ServiceClient(http, base_url, audience="accounts", signer=service_keys.signer("analytics"))
    with pytest.raises(Problem) as caught:
        await stranger.post("/only-gateway", json={})
    assert (caught.value.status, caught.value.code) == (403, "caller_not_allowed")


async def test_a_users_token_is_passed_on(service: ServiceClient, user_keys: UserKeys) -> None:
    token = user_keys.token()
    answer = await service.get("/echo", params={"a": "b c"}, bearer=token, headers={"X-Extra": "1"})
    assert answer["headers"]["authorization"] == f"Bearer {token}"
    assert answer["headers"]["x-extra"] == "1"
    assert answer["query"] == "a=b+c"


async def test_the_request_id_goes_along(service: ServiceClient) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="r-1"):
        assert (await service.get("/echo"))["headers"]["x-request-id"] == "r-1"
    assert "x-request-id" not in (await service.get("/echo"))["headers"]


async def test_no_proxy_from_the_environment_and_no_cookies(
    base_url: str, service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with internal_client() as client:
        service = ServiceClient(client, base_url, audience="accounts", signer=service_keys.signer("gateway"))
        assert (await service.send("GET", "/answer/200")).headers["set-cookie"] == "a=b"
        assert "cookie" not in (await service.get("/echo"))["headers"]


async def test_connections_are_reused(service: ServiceClient) -> None:
    peers = {(await service.get("/echo"))["peer"] for _ in range(5)}
    assert len(peers) == 1


async def test_problems_of_the_other_service_are_raised_whole(service: ServiceClient) -> None:
    with pytest.raises(Problem) as caught:
        await service.get("/problem/409")
    problem = caught.value
    assert (problem.status, problem.code, problem.detail, problem.hint) == (409, "some_code", "Some detail.", "h")
    assert problem.errors == (FieldError("f", "c", "m", "fh"),)
    assert problem.headers == {"Retry-After": "9"}
    assert problem.extra == {"more": [1]}


@pytest.mark.parametrize(
    ("path", "status", "retry_after"),
    [("/problem/503", 503, 9.0), ("/answer/500", 500, None), ("/answer/404", 404, None), ("/false-problem", 409, None)],
)
async def test_other_failures_are_transient(service: ServiceClient, path: str, status: int, retry_after: float | None) -> None:
    with pytest.raises(Transient) as caught:
        await service.get(path)
    failure = caught.value
    assert isinstance(failure, ServiceFailure)
    assert (failure.status, failure.retry_after) == (status, retry_after)
    assert (failure.problem is not None) == path.startswith("/problem")


async def test_an_answer_that_is_not_json_is_transient(service: ServiceClient) -> None:
    with pytest.raises(ServiceFailure, match="not JSON"):
        await service.get("/answer/200")


async def test_an_empty_answer_is_none(service: ServiceClient) -> None:
    assert await service.get("/answer/204") is None


async def test_raw_answers_pass_untouched(service: ServiceClient) -> None:
    response = await service.send("GET", "/answer/404")
    assert (response.status_code, response.content) == (404, b"plain")


@pytest.mark.parametrize("path", ["/hang", "/trickle"])
async def test_the_whole_call_is_bounded(service: ServiceClient, path: str) -> None:
    """Neither of them ever ends by itself."""
    with pytest.raises(ServiceFailure, match="did not answer within"):
        await service.get(path, timeout=0.1)


async def test_an_unreachable_service_is_transient(http: httpx.AsyncClient, service_keys: ServiceKeys) -> None:
    service = ServiceClient(http, "http://127.0.0.1:9", audience="accounts", signer=service_keys.signer("gateway"))
    with pytest.raises(ServiceFailure, match="could not be reached"):
        await service.get("/echo")


async def test_a_connection_cut_before_the_answer_is_transient(http: httpx.AsyncClient, service_keys: ServiceKeys) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        service = ServiceClient(http, url, audience="accounts", signer=service_keys.signer("gateway"))
        with pytest.raises(ServiceFailure, match="could not be reached: ReadError"):
            await service.post("/x", json={})
        with pytest.raises(httpx.ReadError):
            await http.post(url)
    with pytest.raises(httpx.ConnectError):
        await http.post(url)


async def test_connections_are_limited_and_waiting_for_one_is_bounded(base_url: str) -> None:
    Counter.now = Counter.most = 0
    async with internal_client(max_connections=3) as client:
        await asyncio.gather(*(client.get(f"{base_url}/busy") for _ in range(12)))
        assert Counter.most == 3
        hanging = [asyncio.create_task(client.get(f"{base_url}/hang", timeout=5)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(httpx.TimeoutException):
            await client.get(f"{base_url}/echo", timeout=httpx.Timeout(5, pool=0.1))
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_the_read_timeout_applies(base_url: str) -> None:
    async with internal_client(0.1) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"{base_url}/hang")
