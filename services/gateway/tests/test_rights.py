"""Every route of the OpenAPI document asks for what the document says: none slips through without a token, or without its scope."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from common.http.json_response import json_response
from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration

SCOPES = {"posts:read", "posts:write", "media:write", "accounts:read", "accounts:write", "analytics:read", "audit:read"}
PUBLIC = {
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/api/v1/tiktok/callback"),
    ("POST", "/api/v1/webhooks/tiktok"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
"""Whoever adds a route here says that anybody may use it."""
ANY_TOKEN = {("GET", "/api/v1/auth/me"), ("GET", "/api/v1/operations/{operation_id}"), ("GET", "/api/v1/events")}
"""Any token, whatever its scopes; an operation takes the scope of its command, which is tested with the commands."""
SESSION_ONLY = {
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password"),
    ("POST", "/api/v1/auth/api-keys"),
    ("GET", "/api/v1/auth/api-keys"),
    ("DELETE", "/api/v1/auth/api-keys/{api_key_id}"),
}


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def address(path: str) -> str:
    """Return the path with an id for each parameter."""
    parts = [str(uuid4()) if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def key_for(services: Any, user_keys: UserKeys, user_id: UUID) -> Any:
    """Make accounts know every key: its scopes are those that its name spells."""

    async def exchange(request: Any) -> Any:
        text = (await request.json())["key"].split("_")[1]
        scopes = sorted(SCOPES)[:] if text == "all" else sorted(SCOPES)[int(text[3:]) : int(text[3:]) + 1]
        if text.startswith("not"):
            scopes = [scope for scope in sorted(SCOPES) if scope not in scopes]
        token = user_keys.token(user_id, api_key_id=str(uuid4()), scopes=scopes, expires_in=300)
        return json_response({"access_token": token, "expires_in": 300, "api_key_id": str(uuid4())})

    services.answers["POST", "/internal/api-keys/exchange"] = exchange


def without(scope: str) -> dict[str, str]:
    """Headers of a key that has every scope but this one."""
    return {"Authorization": f"Bearer cpk_not{sorted(SCOPES).index(scope)}_{uuid4().hex}"}


def only(scope: str) -> dict[str, str]:
    """Headers of a key that has this scope alone."""
    return {"Authorization": f"Bearer cpk_has{sorted(SCOPES).index(scope)}_{uuid4().hex}"}


async def test_no_route_is_open_by_mistake(gateway: Any) -> None:
    operations = operations_of((await gateway.get("/openapi.json")).json())
    assert len(operations) > 30
    for operation, described in operations.items():
        public = operation in PUBLIC
        assert (described["security"] == []) is public, operation
        if public:
            continue
        (scopes,) = (entry["bearer"] for entry in described["security"])
        assert set(scopes) <= SCOPES, operation
        assert described.get("x-session-only", False) is (operation in SESSION_ONLY), operation
        assert bool(scopes) or operation in ANY_TOKEN | SESSION_ONLY, operation
        answer = await gateway.request(operation[0], address(operation[1]))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), operation
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_takes_its_scope(gateway: Any, services: Any, user_keys: UserKeys, user_id: UUID) -> None:
    key_for(services, user_keys, user_id)
    operations = operations_of((await gateway.get("/openapi.json")).json())
    seen: set[str] = set()
    for (method, path), described in operations.items():
        for scope in described["security"][0]["bearer"] if described["security"] else ():
            seen.add(scope)
            refused = await gateway.request(method, address(path), headers=without(scope))
            assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), (method, path)
            challenge = refused.headers["www-authenticate"]
            assert challenge == f'Bearer error="insufficient_scope", scope="{scope}"', (method, path)
            if method == "GET" and path != "/api/v1/events":
                allowed = await gateway.request(method, address(path), headers=only(scope))
                assert allowed.status_code not in {401, 403}, (method, path)
    assert seen == SCOPES


async def test_keys_are_refused_where_a_person_is_asked_for(
    gateway: Any, services: Any, user_keys: UserKeys, user_id: UUID
) -> None:
    """A key can make no other key, whatever its scopes: it must not outlive its own revocation."""
    key_for(services, user_keys, user_id)
    for method, path in SESSION_ONLY:
        answer = await gateway.request(method, address(path), headers={"Authorization": f"Bearer cpk_all_{uuid4().hex}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "session_required"), path
        assert "revoke" in answer.json()["hint"]
    assert [call["path"] for call in services.calls if call["path"].startswith("/internal/auth/")] == []
