"""Where HTTPS is required, nothing that came without it is answered, and browsers are told to come by it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.domain.client_address import parse_networks
from gateway.domain.transport import came_by_https

pytestmark = pytest.mark.integration
HSTS = "strict-transport-security"
HTTPS = {"X-Forwarded-Proto": "https"}
PATH = "/.well-known/jwks.json"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(run_gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with run_gateway(require_https=True, trusted_proxies="127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "https, http"}])
async def test_a_request_without_https_is_refused(strict: Any, services: Any, headers: dict[str, str]) -> None:
    services.reset()
    for method, path in (("GET", PATH), ("POST", "/api/v1/auth/login"), ("GET", "/docs"), ("GET", "/no/such/path")):
        answer = await strict.request(method, path, headers=headers, json={"email": "a@example.com"})
        assert (answer.status_code, answer.json()["code"]) == (403, "https_required")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert HSTS not in answer.headers, "a browser must not learn it from whoever answers in the clear"
    assert [call for call in services.calls if call["path"] != "/internal/revocations"] == []


async def test_a_request_by_https_is_answered_and_told_to_stay(strict: Any, services: Any, auth: Any) -> None:
    services.answer("GET", "/internal/tiktok/auth/url", {}, headers={"set-cookie": "cuepost_connect_x=b.y; HttpOnly; Path=/"})
    answers = [
        await strict.get(PATH, headers=HTTPS),
        await strict.get("/no/such/path", headers=HTTPS),
        await strict.get("/api/v1/tiktok/auth/url", headers=auth | HTTPS),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    assert {answer.headers[HSTS] for answer in answers} == {"max-age=31536000"}
    assert answers[-1].headers["set-cookie"] == "cuepost_connect_x=b.y; HttpOnly; Path=/; Secure"


async def test_a_cookie_that_is_secure_already_stays_as_it_is(strict: Any, services: Any, auth: Any) -> None:
    cookie = "cuepost_connect_x=b.y; HttpOnly; secure; Path=/"
    services.answer("GET", "/internal/tiktok/auth/url", {}, headers={"set-cookie": cookie})
    answer = await strict.get("/api/v1/tiktok/auth/url", headers=auth | HTTPS)
    assert answer.headers["set-cookie"] == cookie


async def test_health_is_asked_without_https(strict: Any) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await strict.get(path)
        assert answer.status_code == 200
        assert HSTS not in answer.headers


async def test_it_is_not_required_by_default(gateway: Any) -> None:
    answer = await gateway.get(PATH)
    assert answer.status_code == 200
    assert HSTS not in answer.headers


@pytest.mark.parametrize(
    ("scheme", "peer", "forwarded", "expected"),
    [
        ("https", "192.0.2.9", [], True),
        ("https", None, [], True),
        ("http", "192.0.2.9", [], False),
        ("http", "192.0.2.9", ["https"], False),
        ("http", None, ["https"], False),
        ("https", "192.0.2.9", ["http"], True),
        ("http", "10.0.0.1", ["https"], True),
        ("http", "10.0.0.1", [" HTTPS ", "https"], True),
        ("http", "10.0.0.1", ["https", "http"], False),
        ("https", "10.0.0.1", ["http"], False),
        ("https", "10.0.0.1", [], True),
        ("http", "10.0.0.1", [], False),
        ("http", "10.0.0.1", [""], False),
    ],
)
def test_only_a_trusted_proxy_says_how_a_request_came(
    scheme: str, peer: str | None, forwarded: list[str], expected: bool
) -> None:
    assert came_by_https(scheme, peer, forwarded, parse_networks("10.0.0.0/8")) is expected
