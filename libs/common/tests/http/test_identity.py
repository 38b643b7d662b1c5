from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends, Request

from common.auth.claims import UserClaims
from common.http.app import create_app
from common.http.identity import CurrentUser, caller, request_context, require_scope
from common.ids import uuid7
from common.testing.keys import ServiceKeys, UserKeys

router = APIRouter()


@router.get("/me")
async def me(user: CurrentUser, request: Request) -> dict[str, Any]:
    context = request_context(request)
    return {"user_id": user.user_id, "context": context}


@router.get("/write")
async def write(user: Annotated[UserClaims, Depends(require_scope("posts:write"))]) -> UUID:
    return user.user_id


@router.get("/internal")
async def internal(name: Annotated[str, Depends(caller("gateway"))], request: Request) -> dict[str, Any]:
    context = request_context(request)
    return {"name": name, "context": context}


@router.get("/login/{user_id}")
async def login(user_id: UUID, request: Request) -> dict[str, Any]:
    return {"context": request_context(request, user_id=user_id)}


@router.get("/decided")
async def decided(request: Request) -> dict[str, Any]:
    request.state.client_ip = "192.0.2.9"
    return {"context": request_context(request)}


def client_of(user_keys: UserKeys, service_keys: ServiceKeys, *, behind_gateway: bool = True) -> httpx.AsyncClient:
    app = create_app(
        service="accounts",
        title="t",
        version="1",
        routers=[router],
        user_tokens=user_keys.verifier(),
        service_tokens=service_keys.verifier("accounts"),
        behind_gateway=behind_gateway,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t")


@pytest.fixture
async def client(user_keys: UserKeys, service_keys: ServiceKeys) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(user_keys, service_keys) as client:
        yield client


async def test_a_user_and_its_context(client: httpx.AsyncClient, user_keys: UserKeys) -> None:
    user_id = uuid7()
    headers = user_keys.authorization(user_id) | {
        "X-Request-ID": "r1",
        "X-Forwarded-Client-IP": "203.0.113.5",
        "X-Forwarded-User-Agent": "curl/8" + "x" * 600,
        "User-Agent": "gateway",
    }
    body = (await client.get("/me", headers=headers)).json()
    assert body["user_id"] == str(user_id)
    context = body["context"]
    assert context["actor"] == f"user:{user_id}"
    assert (context["client_ip"], context["correlation_id"]) == ("203.0.113.5", "r1")
    assert len(context["user_agent"]) == 500


async def test_two_authorization_headers_are_refused(client: httpx.AsyncClient, user_keys: UserKeys) -> None:
    """Whatever stands before us may have looked at the other one."""
    mine, other = (user_keys.authorization(uuid7())["Authorization"] for _ in range(2))
    for second in (other, mine, "Basic eDp5", ""):
        for headers in (
            [("Authorization", mine), ("authorization", second)],
            [("Authorization", second), ("Authorization", mine)],
        ):
            answer = await client.get("/me", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_api_key_is_the_actor(client: httpx.AsyncClient, user_keys: UserKeys) -> None:
    headers = user_keys.authorization(api_key_id="k1", scopes=["posts:write"])
    assert (await client.get("/me", headers=headers)).json()["context"]["actor"] == "api_key:k1"
    assert (await client.get("/write", headers=headers)).status_code == 200


async def test_scopes(client: httpx.AsyncClient, user_keys: UserKeys) -> None:
    assert (await client.get("/write", headers=user_keys.authorization())).status_code == 200
    response = await client.get("/write", headers=user_keys.authorization(api_key_id="k1", scopes=["posts:read"]))
    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="posts:write"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic abc", "token", "Bearer\tx"])
async def test_without_a_token(client: httpx.AsyncClient, value: str | None) -> None:
    response = await client.get("/me", headers={} if value is None else {"Authorization": value})
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_bad_tokens(client: httpx.AsyncClient, user_keys: UserKeys) -> None:
    response = await client.get("/me", headers={"Authorization": "bearer rubbish"})
    assert (response.status_code, response.json()["code"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    response = await client.get("/me", headers=user_keys.authorization(expires_in=-60))
    assert (response.status_code, response.json()["code"]) == (401, "token_expired")


async def test_a_service_is_not_a_user_nor_a_user_a_service(
    client: httpx.AsyncClient, user_keys: UserKeys, service_keys: ServiceKeys
) -> None:
    service = service_keys.authorization("gateway", "accounts")
    assert (await client.get("/me", headers=service)).status_code == 401
    assert (await client.get("/internal", headers=user_keys.authorization())).status_code == 401
    body = (await client.get("/internal", headers=service)).json()
    assert body["name"] == "gateway"
    assert body["context"]["actor"] == "service:gateway"


async def test_the_user_of_a_login(client: httpx.AsyncClient) -> None:
    user_id = uuid7()
    context = (await client.get(f"/login/{user_id}")).json()["context"]
    assert (context["user_id"], context["actor"]) == (str(user_id), f"user:{user_id}")


async def test_addresses_without_forwarding(user_keys: UserKeys, service_keys: ServiceKeys) -> None:
    async with client_of(user_keys, service_keys, behind_gateway=False) as client:
        headers = user_keys.authorization() | {"X-Forwarded-Client-IP": "203.0.113.5", "User-Agent": "curl"}
        context = (await client.get("/me", headers=headers)).json()["context"]
        assert (context["client_ip"], context["user_agent"]) == ("127.0.0.1", "curl")
        assert (await client.get("/decided")).json()["context"]["client_ip"] == "192.0.2.9"
