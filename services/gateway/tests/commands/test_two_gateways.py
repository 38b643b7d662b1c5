"""The same key sent many times at once through two gateways: one effect, one answer, whatever order they arrive in."""

import asyncio
import re
from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.integration

POSTS = "/api/v1/posts"
MP4 = b"\x00\x00\x00\x18ftypmp42"


ROUTES: dict[tuple[str, str], tuple[Any, Any]] = {
    ("POST", "/posts"): ({"caption": "x"}, {"caption": "y"}),
    ("PUT", "/posts/{post_id}"): ({"caption": "x"}, {"caption": "y"}),
    ("PATCH", "/posts/{post_id}"): ({"caption": "x"}, {"caption": "y"}),
    ("DELETE", "/posts/{post_id}"): (None, None),
    ("POST", "/posts/{post_id}/publish-now"): (None, {}),
    ("POST", "/posts/{post_id}/retry"): ({}, {"confirm_not_published": True}),
    ("POST", "/posts/{post_id}/confirm"): ({"tiktok_video_id": "73"}, {"tiktok_video_id": "74"}),
    ("POST", "/posts/bulk"): ({"posts": [{"caption": "x"}]}, {"posts": [{"caption": "y"}]}),
    ("POST", "/media/upload"): (MP4 + b"x", MP4 + b"y"),
    ("DELETE", "/media/{media_id}"): (None, None),
    ("PATCH", "/accounts/{account_id}"): ({"status": "active"}, {"status": "inactive"}),
    ("DELETE", "/accounts/{account_id}"): (None, None),
    ("POST", "/accounts/{account_id}/sync"): (None, {}),
    ("POST", "/accounts/batch/sync"): ({"account_ids": [str(uuid4())]}, {"account_ids": [str(uuid4())]}),
}
"""Every route that changes something and takes a key, with a body and another one."""
WITHOUT_KEY = {"/posts/validate", "/webhooks/tiktok"}
"""A question; and TikTok's webhooks, whose ids follow from their bodies. The answers of `/auth` hold secrets."""


async def test_every_route_that_changes_something_takes_a_key(gateway: Any) -> None:
    document = (await gateway.get("/openapi.json")).json()
    changing = {
        (method.upper(), path.removeprefix("/api/v1")): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method.upper() in {"POST", "PUT", "PATCH", "DELETE"} and not path.startswith("/api/v1/auth/")
    }
    keyed = {
        route
        for route, operation in changing.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    }
    assert keyed == set(ROUTES)
    assert {path for _, path in changing.keys() - keyed} == WITHOUT_KEY


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_concurrent_duplicates_over_two_gateways(
    first_gateway: Any, second_gateway: Any, service: Any, auth: Any, route: tuple[str, str]
) -> None:
    """Sixteen at once and one later: one effect, the same answer for all; another body under the key is refused."""
    method, path = route
    url = "/api/v1" + re.sub(r"\{\w+\}", str(uuid4()), path)
    headers = {**auth, "Idempotency-Key": "one"}

    async def send(client: Any, body: Any) -> Any:
        content = {"files": {"file": ("a.mp4", body, "video/mp4")}} if isinstance(body, bytes) else {"json": body}
        return await client.request(method, url, headers=headers, **(content if body is not None else {}))

    body, other = ROUTES[route]
    answers = await asyncio.gather(*(send(client, body) for client in [first_gateway, second_gateway] * 8))
    answers.append(await send(second_gateway, body))
    told = {(answer.status_code, answer.text, answer.headers["etag"]) for answer in answers}
    assert told == {(200, answers[0].text, answers[0].headers["etag"])}
    assert await service.count() == 1
    if other is not None:
        refused = await send(first_gateway, other)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    query = await first_gateway.request(method, f"{url}?x=1", headers=headers, json=body) if isinstance(body, dict) else None
    if query is not None:
        assert query.status_code == 422
    assert await service.count() == 1


async def test_different_bodies_under_one_key_at_the_same_moment_have_one_effect(
    first_gateway: Any, second_gateway: Any, service: Any, auth: Any
) -> None:
    url, headers = f"{POSTS}/{uuid4()}", {**auth, "Idempotency-Key": "two"}
    bodies = [{"caption": "a"}, {"caption": "b"}] * 6
    clients = [first_gateway, second_gateway, second_gateway, first_gateway] * 3
    sent = (client.patch(url, json=body, headers=headers) for client, body in zip(clients, bodies, strict=True))
    answers = await asyncio.gather(*sent)
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [422] * 6
    winners = {body["caption"] for answer, body in zip(answers, bodies, strict=True) if answer.status_code == 200}
    assert len(winners) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 422} == {"idempotency_key_reused"}
    assert await service.count() == 1


async def test_one_key_on_two_posts_and_of_two_users_is_another_key_each(
    first_gateway: Any, second_gateway: Any, service: Any, auth: Any, user_keys: Any
) -> None:
    one, two = uuid4(), uuid4()
    stranger = user_keys.authorization(uuid4(), session_id=str(uuid4()))
    requests = [
        (first_gateway, "PATCH", f"/{one}", auth),
        (second_gateway, "PATCH", f"/{two}", auth),
        (first_gateway, "PUT", f"/{one}", auth),
        (second_gateway, "PATCH", f"/{one}", stranger),
        (first_gateway, "POST", f"/{one}/retry", auth),
        (second_gateway, "POST", f"/{two}/retry", auth),
    ]
    sent = (
        client.request(method, POSTS + path, json={}, headers={**who, "Idempotency-Key": "same"})
        for client, method, path, who in requests
    )
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == len(requests)
    assert await service.count() == len(requests)
