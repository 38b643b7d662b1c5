"""Queries pass through untouched; a service that is away is 503."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import Request
from starlette.responses import Response

from common.clock import utc_now
from gateway.domain.operation_id import Operation, encode_operation

pytestmark = pytest.mark.integration

POST_ID = uuid4()
ROUTES = {
    "/api/v1/auth/me": "/internal/auth/me",
    "/api/v1/auth/api-keys": "/internal/auth/api-keys",
    "/api/v1/tiktok/auth/url": "/internal/tiktok/auth/url",
    "/api/v1/accounts": "/internal/accounts",
    f"/api/v1/accounts/{POST_ID}": f"/internal/accounts/{POST_ID}",
    "/api/v1/accounts/stats/summary": "/internal/accounts/stats/summary",
    f"/api/v1/accounts/{POST_ID}/creator-info": f"/internal/accounts/{POST_ID}/creator-info",
    "/api/v1/media": "/internal/media",
    f"/api/v1/media/{POST_ID}": f"/internal/media/{POST_ID}",
    "/api/v1/posts": "/internal/posts",
    f"/api/v1/posts/{POST_ID}": f"/internal/posts/{POST_ID}",
    f"/api/v1/posts/{POST_ID}/status": f"/internal/posts/{POST_ID}/status",
    f"/api/v1/posts/{POST_ID}/detail": f"/internal/posts/{POST_ID}/detail",
    "/api/v1/audit": "/internal/audit",
    f"/api/v1/analytics/accounts/{POST_ID}/stats": f"/internal/analytics/accounts/{POST_ID}/stats",
    f"/api/v1/analytics/accounts/{POST_ID}/history": f"/internal/analytics/accounts/{POST_ID}/history",
    f"/api/v1/analytics/posts/{POST_ID}": f"/internal/analytics/posts/{POST_ID}",
    "/api/v1/analytics/overview": "/internal/analytics/overview",
}


def answer_bytes(services: Any, method: str, path: str, body: bytes, status: int = 200, **headers: str) -> None:
    async def respond(_: Request) -> Response:
        return Response(body, status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    services.answers[method, path] = respond


@pytest.mark.parametrize("path", ROUTES)
async def test_reads_pass_through(gateway: Any, services: Any, auth: Any, path: str) -> None:
    body = b'{ "odd":   [1.0,"\xc3\xa4"] }'
    kept = {"content_type": "application/json", "etag": '"7"', "content_disposition": 'attachment; filename="a.csv"'}
    answer_bytes(services, "GET", ROUTES[path], body, x_secret="no", **kept)
    query = "limit=2&status=a%20b&status=c&cursor=%C3%A4%2B"
    sent = {**auth, "X-Request-ID": "abc", "User-Agent": "probe \xe4", "If-None-Match": '"6"', "X-Other": "no"}
    answer = await gateway.get(f"{path}?{query}", headers={name: value.encode("latin-1") for name, value in sent.items()})
    assert (answer.status_code, answer.content) == (200, body)
    assert {name: answer.headers[name.replace("_", "-")] for name in kept} == kept
    assert "x-secret" not in answer.headers
    (call,) = services.calls_of(ROUTES[path])
    assert call["query"] == query
    assert call["headers"]["authorization"] == auth["Authorization"]
    assert call["headers"]["x-request-id"] == "abc"
    assert call["headers"]["x-forwarded-client-ip"] == "127.0.0.1"
    assert call["headers"]["x-forwarded-user-agent"] == "probe ?"
    assert call["headers"]["if-none-match"] == '"6"'
    assert "x-other" not in call["headers"]


async def test_statuses_pass_through(gateway: Any, services: Any, auth: Any) -> None:
    path = f"/internal/posts/{POST_ID}"
    answer_bytes(services, "GET", path, b"", 304, etag='"7"')
    assert (await gateway.get(f"/api/v1/posts/{POST_ID}", headers=auth)).status_code == 304
    answer_bytes(services, "GET", path, b'{"code":"post_not_found"}', 404, content_type="application/problem+json")
    answer = await gateway.get(f"/api/v1/posts/{POST_ID}", headers=auth)
    assert (answer.status_code, answer.content) == (404, b'{"code":"post_not_found"}')
    assert answer.headers["content-type"] == "application/problem+json"


async def test_logins_carry_the_gateways_own_token(gateway: Any, services: Any, service_keys: Any) -> None:
    for name, status in (("register", 201), ("login", 200), ("refresh", 200)):
        services.answer("POST", f"/internal/auth/{name}", {"access_token": "t"}, status=status)
        answer = await gateway.post(f"/api/v1/auth/{name}", json={"password": "secret"})
        assert (answer.status_code, answer.json()) == (status, {"access_token": "t"})
        (call,) = services.calls_of(f"/internal/auth/{name}")
        assert call["body"] == b'{"password":"secret"}'
        assert call["headers"]["content-type"] == "application/json"
        token = call["headers"]["authorization"].removeprefix("Bearer ")
        assert service_keys.verifier("accounts").verify(token, allowed={"gateway"}) == "gateway"


async def test_logout_passwords_and_api_keys_carry_the_users_token(gateway: Any, services: Any, auth: Any) -> None:
    answer_bytes(services, "POST", "/internal/auth/logout", b"", 204)
    answer_bytes(services, "DELETE", f"/internal/auth/api-keys/{POST_ID}", b"", 204)
    services.answer("POST", "/internal/auth/api-keys", {"key": "cpk_x"}, status=201)
    assert (await gateway.post("/api/v1/auth/logout", headers=auth)).status_code == 204
    assert (await gateway.delete(f"/api/v1/auth/api-keys/{POST_ID}", headers=auth)).status_code == 204
    assert (await gateway.post("/api/v1/auth/api-keys", json={"name": "x"}, headers=auth)).json() == {"key": "cpk_x"}
    services.answer("POST", "/internal/auth/password", {"access_token": "t"})
    assert (await gateway.post("/api/v1/auth/password", json={"x": 1}, headers=auth)).json() == {"access_token": "t"}
    assert services.calls_of("/internal/auth/password")[0]["body"] == b'{"x":1}'
    assert {call["headers"]["authorization"] for call in services.calls if "headers" in call} == {auth["Authorization"]}


async def test_callback_answers_or_redirects(gateway: Any, services: Any, service_keys: Any) -> None:
    services.answer("GET", "/internal/tiktok/callback", {"success": True, "account_id": "x"})
    answer = await gateway.get("/api/v1/tiktok/callback?code=a&state=b")
    assert answer.json() == {"success": True, "account_id": "x"}
    services.answer("GET", "/internal/tiktok/callback", {}, status=302, headers={"Location": "https://app.example/x"})
    answer = await gateway.get("/api/v1/tiktok/callback?code=a&state=b")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://app.example/x")
    call = services.calls_of("/internal/tiktok/callback")[0]
    assert call["query"] == "code=a&state=b"
    service_keys.verifier("accounts").verify(call["headers"]["authorization"].removeprefix("Bearer "), allowed={"gateway"})


async def test_a_service_that_is_away_is_503(run_gateway: Any, auth: Any, user_id: UUID) -> None:
    """The answer to a change that was accepted is no failure then: there is none yet."""
    operation = Operation("scheduler", user_id, uuid4(), utc_now(), "posts:write")
    address = f"/api/v1/operations/{encode_operation(operation, bytes(range(32)))}"
    async with run_gateway(scheduler_url="http://127.0.0.1:1") as client:
        answer = await client.get("/api/v1/posts", headers=auth)
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        pending = await client.get(address, headers=auth)
        assert (pending.status_code, pending.json()["status"]) == (200, "pending")
        assert int(pending.headers["retry-after"]) >= 1


@pytest.mark.parametrize("query", ["%00", "x=%ff%fe", "x=\x7f", "=" * 50, "a" * 9000, "[]{}|\\^`", "x=%", "&&&"])
async def test_odd_query_strings_are_no_failure(gateway: Any, services: Any, auth: Any, query: str) -> None:
    services.answer("GET", "/internal/posts", {"items": []})
    reader, writer = await _connect(gateway)
    head = (
        f"GET /api/v1/posts?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {auth['Authorization']}\r\n\r\n"
    )
    writer.write(head.encode("latin-1"))
    answer = await reader.read()
    writer.close()
    assert int(answer.split()[1]) in {200, 400, 414, 422}, answer


async def _connect(client: Any) -> Any:
    import asyncio

    url = client.base_url
    return await asyncio.open_connection(url.host, url.port)


async def test_jwks_and_documents(gateway: Any, user_keys: Any) -> None:
    for _ in range(3):
        answer = await gateway.get("/.well-known/jwks.json")
        assert answer.json() == user_keys.jwks()
    document = (await gateway.get("/openapi.json")).json()
    assert (await gateway.get("/docs")).status_code == 200
    create = document["paths"]["/api/v1/posts"]["post"]
    body = create["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
    assert document["components"]["schemas"][body]["additionalProperties"] is False
    assert create["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/Post")
    assert "application/problem+json" in create["responses"]["422"]["content"]
    names = {parameter["name"] for parameter in document["paths"]["/api/v1/posts/{post_id}"]["delete"]["parameters"]}
    assert names == {"post_id", "Idempotency-Key"}
    assert _dangling(document) == set()


def _dangling(document: dict[str, Any]) -> set[str]:
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"].rsplit("/", 1)[-1])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    return found - set(document["components"]["schemas"])


async def test_cookies_of_connecting_and_no_others_reach_accounts(gateway: Any, services: Any, auth: dict[str, str]) -> None:
    made = {"auth_url": "https://tiktok.example/", "state": "b.x"}
    cookie = "cuepost_connect_0123=b.x; HttpOnly; Max-Age=600; Path=/api/v1/tiktok/callback; SameSite=lax"
    services.answer("GET", "/internal/tiktok/auth/url", made, headers={"Set-Cookie": cookie})
    started = await gateway.get("/api/v1/tiktok/auth/url", params={"browser": "true"}, headers=auth)
    assert started.headers.get_list("set-cookie") == [cookie]
    gateway.cookies.clear()
    assert services.calls_of("/internal/tiktok/auth/url")[0]["query"] == "browser=true"
    services.answer("GET", "/internal/tiktok/callback", {"success": True})
    sent = {"Cookie": "session=secret; cuepost_connect_0123=b.x; other=1; cuepost_connect_4567=b.y"}
    assert (await gateway.get("/api/v1/tiktok/callback", params={"state": "b.x"}, headers=sent)).status_code == 200
    passed_on = services.calls_of("/internal/tiktok/callback")[0]["headers"]["cookie"]
    assert passed_on == "cuepost_connect_0123=b.x; cuepost_connect_4567=b.y"
    assert (await gateway.get("/api/v1/tiktok/callback")).status_code == 200
    assert "cookie" not in services.calls_of("/internal/tiktok/callback")[1]["headers"]
