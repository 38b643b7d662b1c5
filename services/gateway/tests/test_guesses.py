"""Guessed keys and attempts: whoever is refused again and again from one address is not passed on to accounts any more."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from common.http.json_response import json_response
from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration

ME = "/api/v1/auth/me"
CALLBACK = "/api/v1/tiktok/callback"
EXCHANGE = "/internal/api-keys/exchange"
LIMITS = {"rate_limit_per_address": "5/hour", "trusted_proxies": "127.0.0.1"}
GOOD = "cpk_good_0123456789"


@pytest.fixture(autouse=True)
def accounts(services: Any, user_keys: UserKeys, user_id: UUID) -> None:
    """Let accounts know one key and no attempt to connect."""

    async def exchange(request: Any) -> Any:
        if not (await request.json())["key"].startswith(GOOD):
            refused = {"code": "invalid_api_key", "title": "Unauthorized", "status": 401, "detail": "x"}
            return json_response(refused, status=401, media_type="application/problem+json")
        token = user_keys.token(user_id, api_key_id=str(uuid4()), scopes=[], expires_in=20)
        return json_response({"access_token": token, "expires_in": 20, "api_key_id": str(uuid4())})

    services.answers["POST", EXCHANGE] = exchange
    services.answer("GET", "/internal/auth/me", {"id": "x"})
    services.answer("GET", "/internal/tiktok/callback", {"code": "invalid_state", "title": "x", "status": 400}, status=400)


async def with_key(client: httpx.AsyncClient, key: str, address: str = "203.0.113.1") -> httpx.Response:
    return await client.get(ME, headers={"Authorization": f"Bearer {key}", "X-Forwarded-For": address})


async def guess(client: httpx.AsyncClient, address: str = "203.0.113.1") -> httpx.Response:
    return await with_key(client, f"cpk_{uuid4().hex}", address)


async def test_guessed_keys_are_not_passed_on_forever(run_gateway: Any, services: Any) -> None:
    async with run_gateway(**LIMITS) as client:
        assert (await with_key(client, GOOD)).status_code == 200
        statuses = [(await guess(client)).status_code for _ in range(8)]
        assert statuses == [401] * 5 + [429] * 3
        assert len(services.calls_of(EXCHANGE)) == 1 + 5
        refused = await guess(client)
        assert (refused.json()["code"], refused.headers["ratelimit-limit"]) == ("rate_limited", "5")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await guess(client, "203.0.113.2")).status_code == 401, "another address is not concerned"
        assert (await with_key(client, GOOD)).status_code == 200, "a key that was good is asked for all the same"
        assert len(services.calls_of(EXCHANGE)) == 1 + 5 + 1 + 1, "its token had no 20 s left"


async def test_guesses_at_once_do_not_slip_through(run_gateway: Any, services: Any) -> None:
    async with run_gateway(**LIMITS) as client:
        await asyncio.gather(*(guess(client) for _ in range(60)))
        assert len(services.calls_of(EXCHANGE)) == 5


async def test_good_keys_at_once_are_all_let_in(run_gateway: Any) -> None:
    """A gateway that was just started knows no key; neither many requests with one nor many programs at one address suffer."""
    async with run_gateway(**LIMITS) as client:
        keys = [GOOD] * 20 + [f"{GOOD}{number}" for number in range(12)]
        answers = await asyncio.gather(*(with_key(client, key) for key in keys))
        assert [answer.status_code for answer in answers] == [200] * 32


async def test_a_program_with_a_dead_key_harms_nobody_beside_it(run_gateway: Any, services: Any) -> None:
    async with run_gateway(**LIMITS) as client:
        statuses = {(await with_key(client, "cpk_dead_0123456789")).status_code for _ in range(20)}
        assert statuses == {401}
        assert len(services.calls_of(EXCHANGE)) == 1, "that it is dead is remembered"
        assert (await with_key(client, GOOD)).status_code == 200


async def test_guessed_attempts_to_connect_are_not_passed_on_forever(run_gateway: Any, services: Any) -> None:
    async with run_gateway(**LIMITS) as client:
        headers = {"X-Forwarded-For": "203.0.113.3"}
        answers = [await client.get(CALLBACK, params={"state": uuid4().hex}, headers=headers) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [400] * 5 + [429] * 3
        assert len(services.calls_of("/internal/tiktok/callback")) == 5
        services.answer("GET", "/internal/tiktok/callback", {"success": True})
        others = [await client.get(CALLBACK, headers={"X-Forwarded-For": "203.0.113.4"}) for _ in range(20)]
        assert {answer.status_code for answer in others} == {200}, "who is not refused is not counted"
