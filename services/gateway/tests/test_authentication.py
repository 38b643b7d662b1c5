"""Who gets in: tokens, revoked sessions and keys, API keys, scopes, limits."""

import asyncio
import hmac
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import aio_pika
import pytest
from prometheus_client import REGISTRY

from common.auth.keys import b64url_encode
from common.clock import rfc3339, utc_now
from common.contracts.accounts import ApiKeyRevoked, SessionRevoked
from common.http.json_response import json_response
from common.testing.eventually import eventually
from common.testing.keys import UserKeys

pytestmark = pytest.mark.integration

ME = "/api/v1/auth/me"


@pytest.fixture
def me(services: Any) -> None:
    services.answer("GET", "/internal/auth/me", {"id": "x"})


async def status_of(client: Any, headers: dict[str, str], path: str = ME) -> int:
    status: int = (await client.get(path, headers=headers)).status_code
    return status


@pytest.fixture
def key() -> str:
    """Return an API key that no gateway has seen."""
    return f"cpk_{uuid4().hex}"


def session_revoked(session_id: UUID) -> SessionRevoked:
    later = utc_now() + timedelta(hours=1)
    return SessionRevoked(session_id=session_id, user_id=uuid4(), reason="logout", tokens_expire_at=later)


def unsigned(token: str) -> str:
    """Return the token with the same claims under `alg: none`, without a signature."""
    head = json.dumps({"alg": "none", "typ": "JWT", "kid": "test-key"}).encode()
    return f"{b64url_encode(head)}.{token.split('.')[1]}."


def shared_secret(user_keys: UserKeys) -> str:
    """Return a token signed by HMAC with the public key as its secret: good where the algorithm is taken from the token."""
    head = json.dumps({"alg": "HS256", "kid": "test-key"}).encode()
    signed = f"{b64url_encode(head)}.{user_keys.token().split('.')[1]}"
    code = hmac.digest(user_keys.public_key.public_bytes_raw(), signed.encode(), "sha256")
    return f"{signed}.{b64url_encode(code)}"


@pytest.mark.usefixtures("me")
async def test_bad_tokens_are_401_with_a_challenge(gateway: Any, user_keys: UserKeys) -> None:
    stranger = UserKeys()
    without_token: list[dict[str, str]] = [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}]
    headers: list[dict[str, str]] = [
        *without_token,
        {"Authorization": "Bearer nonsense"},
        {"Authorization": f"Bearer {unsigned(user_keys.token())}"},
        {"Authorization": f"Bearer {shared_secret(user_keys)}"},
        {"Authorization": "Bearer " + user_keys.token()[:-8] + "AAAAAAAA"},
        user_keys.authorization(headers={"kid": "x" * 200}),
        user_keys.authorization(headers={"kid": "unknown"}),
        user_keys.authorization(exp=None),
        user_keys.authorization(aud=None),
        user_keys.authorization(aud=["cuepost-api", "other"]),
        {"Authorization": "Bearer cpk_short"},
        {"Authorization": "Bearer cpk_" + "ä".encode().decode("latin-1") * 10},
        stranger.authorization(),
        user_keys.authorization(expires_in=-60),
        user_keys.authorization(aud="other"),
        user_keys.authorization(iss="other"),
        user_keys.authorization(sub="nobody"),
    ]
    for sent in headers:
        raw = {name: value.encode("latin-1") for name, value in sent.items()}
        answer = await gateway.get(ME, headers=raw)
        assert answer.status_code == 401, sent
        expected = "Bearer" if sent in without_token else 'Bearer error="invalid_token"'
        assert answer.headers["www-authenticate"].partition(",")[0] == expected, sent
        assert answer.headers["content-type"] == "application/problem+json"
    assert await status_of(gateway, user_keys.authorization()) == 200


@pytest.mark.usefixtures("me")
async def test_a_revoked_session_is_refused_when_the_event_comes(gateway: Any, user_keys: UserKeys, emit: Any) -> None:
    session_id = uuid4()
    headers = user_keys.authorization(session_id=str(session_id))
    assert await status_of(gateway, headers) == 200
    await emit(session_revoked(session_id))

    async def refused() -> bool:
        return await status_of(gateway, headers) == 401

    await eventually(refused)
    answer = await gateway.get(ME, headers=headers)
    assert answer.json()["code"] == "session_revoked"
    assert await status_of(gateway, user_keys.authorization(session_id=str(uuid4()))) == 200


@pytest.mark.usefixtures("me")
async def test_what_was_revoked_before_the_start_is_read_from_accounts(
    run_gateway: Any, services: Any, user_keys: UserKeys
) -> None:
    session_id = uuid4()
    later = rfc3339(utc_now() + timedelta(hours=1))
    services.revocations = [{"kind": "session", "id": str(session_id), "revoked_at": later, "tokens_expire_at": later}]
    async with run_gateway() as client:
        assert await status_of(client, user_keys.authorization(session_id=str(session_id))) == 401
        assert await status_of(client, user_keys.authorization(session_id=str(uuid4()))) == 200


@pytest.mark.usefixtures("me")
async def test_nobody_is_let_in_before_every_page_of_what_was_revoked_is_read(
    run_gateway: Any, services: Any, user_keys: UserKeys
) -> None:
    """However many there are, also of one moment; accounts that keeps silent meanwhile costs no page that was read."""
    ids, each = sorted(uuid4() for _ in range(11)), 2
    moment, later = rfc3339(utc_now() - timedelta(hours=1)), rfc3339(utc_now() + timedelta(hours=1))
    asked, is_silent = list[str | None](), asyncio.Event()

    async def page(request: Any) -> Any:
        after = request.query_params.get("after")
        if after is None and "since" in request.query_params:
            # By gateways that have read everything before.
            return {"items": [], "next_since": rfc3339(utc_now()), "has_more": False}
        asked.append(after)
        rest = [one for one in ids if after is None or one > UUID(after)]
        if len(rest) <= each:
            await is_silent.wait()
        shown, more = rest[:each], len(rest) > each
        return {
            "items": [{"kind": "session", "id": str(one), "tokens_expire_at": later} for one in shown],
            "next_since": moment if more else rfc3339(utc_now()),
            "next_after": str(shown[-1]) if more else None,
            "settled_until": rfc3339(utc_now()),
            "has_more": more,
        }

    services.revocations_page = page
    async with run_gateway(ready=False) as client:
        await eventually(lambda: str(ids[-2]) in asked)
        check = (await client.get("/readyz")).json()["checks"]["RevocationFeed"]
        assert (check["ok"], check["reason"]) == (False, "revocations not known yet: 10 were read so far")
        answer = await client.get(ME, headers=user_keys.authorization(session_id=str(uuid4())))
        assert (answer.status_code, answer.json()["code"]) == (503, "authentication_unavailable")
        await eventually(lambda: asked.count(str(ids[-2])) > 1)
        is_silent.set()

        async def is_ready() -> bool:
            return bool((await client.get("/readyz")).status_code == 200)

        await eventually(is_ready)
        assert asked.count(None) == 1
        sessions = [user_keys.authorization(session_id=str(one)) for one in (*ids, uuid4())]
        assert [await status_of(client, headers) for headers in sessions] == [401] * len(ids) + [200]


@pytest.mark.usefixtures("me")
async def test_a_cut_connection_is_replaced_and_what_was_missed_is_read(
    gateway: Any, services: Any, user_keys: UserKeys, emit: Any
) -> None:
    """The queue of a lost connection is gone with its events; only reading again can tell what they said."""
    feed = gateway.app.state.feed
    first = feed._connection_number
    session_id, after = uuid4(), uuid4()
    later = rfc3339(utc_now() + timedelta(hours=1))
    services.revocations = [{"kind": "session", "id": str(session_id), "revoked_at": later, "tokens_expire_at": later}]
    await feed._connection.close(aio_pika.exceptions.AMQPConnectionError("cut"))

    async def refused(revoked: UUID) -> bool:
        return await status_of(gateway, user_keys.authorization(session_id=str(revoked))) == 401

    await eventually(lambda: refused(session_id))
    await eventually(lambda: feed._connection_number > first and feed._live)
    await emit(session_revoked(after))
    await eventually(lambda: refused(after))


@pytest.mark.usefixtures("me")
async def test_without_broker_and_accounts_nobody_gets_in(run_gateway: Any, services: Any, user_keys: UserKeys) -> None:
    services.revocations_fail = True
    async with run_gateway(ready=False, amqp_url="amqp://guest:guest@127.0.0.1:1/none") as client:
        headers = user_keys.authorization()
        answer = await client.get(ME, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "authentication_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await client.get("/readyz")).json()["checks"]["RevocationFeed"]["ok"] is False
        services.revocations_fail = False

        async def let_in() -> bool:
            return await status_of(client, headers) == 200

        await eventually(let_in)
        assert (await client.get("/readyz")).json()["checks"]["RevocationFeed"]["ok"] is True
        session_id = uuid4()
        later = rfc3339(utc_now() + timedelta(hours=1))
        services.revocations = [{"kind": "session", "id": str(session_id), "tokens_expire_at": later}]

        async def refused() -> bool:
            return await status_of(client, user_keys.authorization(session_id=str(session_id))) == 401

        await eventually(refused)


def exchange(services: Any, user_keys: UserKeys, user_id: UUID, key_id: UUID, scopes: list[str]) -> None:
    async def respond(_: Any) -> Any:
        token = user_keys.token(user_id, api_key_id=str(key_id), scopes=scopes, expires_in=300)
        return json_response({"access_token": token, "expires_in": 300, "api_key_id": str(key_id)})

    services.answers["POST", "/internal/api-keys/exchange"] = respond


@pytest.mark.usefixtures("me")
async def test_an_api_key_is_exchanged_once_and_cached_until_revoked(
    gateway: Any, key: str, services: Any, user_keys: UserKeys, user_id: UUID, emit: Any, service_keys: Any
) -> None:
    key_id = uuid4()
    exchange(services, user_keys, user_id, key_id, ["posts:read"])
    headers = {"Authorization": f"Bearer {key}"}
    statuses = await asyncio.gather(*(status_of(gateway, headers) for _ in range(20)))
    assert set(statuses) == {200}
    (call,) = services.calls_of("/internal/api-keys/exchange")
    assert call["body"] == b'{"key":"%s"}' % key.encode()
    service_keys.verifier("accounts").verify(call["headers"]["authorization"].removeprefix("Bearer "), allowed={"gateway"})
    passed_on = services.calls_of("/internal/auth/me")[0]["headers"]["authorization"].removeprefix("Bearer ")
    claims = await user_keys.verifier().verify(passed_on)
    assert (claims.user_id, claims.api_key_id) == (user_id, str(key_id))
    services.answer("POST", "/internal/api-keys/exchange", {"code": "invalid_api_key", "title": "x"}, status=401)
    await emit(ApiKeyRevoked(api_key_id=key_id, user_id=user_id))

    async def refused() -> bool:
        return await status_of(gateway, headers) == 401

    await eventually(refused)


async def test_scopes_of_api_keys(gateway: Any, key: str, services: Any, user_keys: UserKeys, user_id: UUID) -> None:
    exchange(services, user_keys, user_id, uuid4(), ["accounts:read"])
    headers = {"Authorization": f"Bearer {key}"}
    services.answer("GET", "/internal/accounts", {"items": []})
    assert await status_of(gateway, headers, "/api/v1/accounts") == 200
    for method, path in (
        ("GET", "/api/v1/posts"),
        ("POST", "/api/v1/posts"),
        ("GET", f"/api/v1/posts/{uuid4()}"),
        ("DELETE", f"/api/v1/posts/{uuid4()}"),
        ("POST", f"/api/v1/posts/{uuid4()}/publish-now"),
        ("GET", "/api/v1/media"),
        ("POST", "/api/v1/media/upload"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/tiktok/auth/url"),
    ):
        answer = await gateway.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), path


async def test_an_api_key_while_accounts_is_away_is_503(gateway: Any, key: str, services: Any) -> None:
    services.answer("POST", "/internal/api-keys/exchange", {}, status=500)
    answer = await gateway.get(ME, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    services.answer("POST", "/internal/api-keys/exchange", {"access_token": "x"})
    answer = await gateway.get(ME, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 503


@pytest.mark.usefixtures("me")
@pytest.mark.parametrize(("status", "code"), [(401, "invalid_token"), (401, "error"), (403, "caller_not_allowed")])
async def test_a_refusal_of_the_gateway_itself_says_nothing_of_the_key(
    gateway: Any, key: str, services: Any, user_keys: UserKeys, user_id: UUID, status: int, code: str
) -> None:
    """Accounts does not take the gateway's own token (its key was not passed on yet, a clock is wrong): the key may be good."""
    headers = {"Authorization": f"Bearer {key}"}
    services.answer("POST", "/internal/api-keys/exchange", {"code": code, "title": "x"}, status=status)
    answer = await gateway.get(ME, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
    exchange(services, user_keys, user_id, uuid4(), [])
    assert await status_of(gateway, headers) == 200, "it is asked for again at once"


@pytest.mark.usefixtures("me")
async def test_limit_per_user(run_gateway: Any, user_keys: UserKeys, user_id: UUID) -> None:
    headers = user_keys.authorization(user_id)
    async with run_gateway(rate_limit_per_user="3/hour") as client:
        answers = [await client.get(ME, headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        refused = answers[-1]
        assert refused.headers["ratelimit-limit"] == "3"
        assert 0 < int(refused.headers["ratelimit-reset"]) <= 3600
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert refused.json()["code"] == "rate_limited"
        assert await status_of(client, user_keys.authorization(user_id)) == 429
        assert await status_of(client, user_keys.authorization()) == 200
        failing = await client.get("/api/v1/posts/not-a-uuid", headers=user_keys.authorization())
        assert failing.status_code == 404


async def test_limit_per_address_on_logins(run_gateway: Any, services: Any) -> None:
    services.answer("POST", "/internal/auth/login", {"code": "invalid_credentials", "title": "x"}, status=401)
    async with run_gateway(rate_limit_per_address="2/hour", trusted_proxies="127.0.0.1") as client:

        async def login(forwarded: str | None = None) -> int:
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            answer = await client.post("/api/v1/auth/login", json={"email": "a", "password": "b"}, headers=headers)
            assert answer.headers["ratelimit-limit"] == "2"
            status: int = answer.status_code
            return status

        assert [await login() for _ in range(3)] == [401, 401, 429]
        assert [await login("203.0.113.5") for _ in range(3)] == [401, 401, 429]
        assert await login("1.1.1.1, 203.0.113.5") == 429
        assert [await login(f"2001:db8::{n}") for n in range(1, 4)] == [401, 401, 429]
        assert services.calls_of("/internal/auth/login")[-1]["headers"]["x-forwarded-client-ip"] == "2001:db8::2"


async def test_forwarded_addresses_of_strangers_count_for_nothing(run_gateway: Any, services: Any) -> None:
    services.answer("POST", "/internal/auth/login", {}, status=401)
    async with run_gateway(rate_limit_per_address="1/hour") as client:
        first = await client.post("/api/v1/auth/login", json={}, headers={"X-Forwarded-For": "203.0.113.5"})
        second = await client.post("/api/v1/auth/login", json={}, headers={"X-Forwarded-For": "203.0.113.6"})
        assert (first.status_code, second.status_code) == (401, 429)
        assert services.calls_of("/internal/auth/login")[0]["headers"]["x-forwarded-client-ip"] == "127.0.0.1"


async def test_the_age_of_what_is_known_of_revocations_is_measured(run_gateway: Any, services: Any, emit: Any) -> None:
    def value(name: str) -> float:
        return REGISTRY.get_sample_value(f"cuepost_gateway_{name}") or 0.0

    async with run_gateway():
        assert value("revocations_fresh") == 1
        assert value("revocations_age_seconds") < 5
        services.revocations_fail = True

        async def older() -> bool:
            return value("revocations_age_seconds") > 1

        await eventually(older)
        services.revocations_fail = False

        async def young() -> bool:
            return value("revocations_age_seconds") < 0.5

        await eventually(young)
        before = value("revocation_delay_seconds_count")
        await emit(session_revoked(uuid4()))

        async def heard() -> bool:
            return value("revocation_delay_seconds_count") > before

        await eventually(heard)
