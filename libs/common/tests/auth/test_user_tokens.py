import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Self

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from common.auth import key_source
from common.auth.claims import UserClaims
from common.auth.key_source import RemoteKeys, StaticKeys
from common.auth.user_tokens import UserTokenVerifier
from common.errors import Problem, Transient
from common.http.client import internal_client
from common.ids import uuid7
from common.testing.eventually import eventually
from common.testing.http_server import jwks_app, serving
from common.testing.keys import AUDIENCE, ISSUER, UserKeys


async def refusal(verifier: UserTokenVerifier, token: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await verifier.verify(token)
    return caught.value


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with internal_client() as client:
        yield client


async def test_claims_of_a_session(user_keys: UserKeys) -> None:
    user_id = uuid7()
    claims = await user_keys.verifier().verify(user_keys.token(user_id, session_id="s1"))
    assert claims.user_id == user_id
    assert (claims.session_id, claims.api_key_id, claims.scopes) == ("s1", None, None)
    assert claims.actor == f"user:{user_id}"
    assert claims.allows("posts:write")
    assert claims.expires_at > datetime.now(UTC) >= claims.issued_at


async def test_claims_of_an_api_key(user_keys: UserKeys) -> None:
    claims = await user_keys.verifier().verify(user_keys.token(api_key_id="k1", scopes=["posts:read", "audit:read"]))
    assert (claims.session_id, claims.api_key_id) == (None, "k1")
    assert claims.actor == "api_key:k1"
    assert claims.scopes == frozenset({"posts:read", "audit:read"})
    assert not claims.allows("posts:write")


async def test_an_empty_scope_allows_nothing(user_keys: UserKeys) -> None:
    claims = await user_keys.verifier().verify(user_keys.token(api_key_id="k1", scopes=[]))
    assert not claims.allows("posts:read")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"aud": [AUDIENCE, "other"]},
        {"sub": "not-a-uuid"},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": 5},
        {"sid": 5},
        {"scope": ["posts:read"]},
        {"iat": 10**12},
        {"exp": 10**30},
        {"exp": "soon"},
        {"nbf": 10**11},
        {"sid": None},
        {"sid": None, "akid": "k1"},
        {"sid": None, "scope": "posts:read"},
        {"akid": "k1"},
        {"akid": "k1", "scope": "posts:read"},
        {"scope": "posts:read"},
    ],
    ids=str,
)
async def test_wrong_claims_are_refused(user_keys: UserKeys, claims: dict[str, Any]) -> None:
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid7()), "sid": "s1", "iat": now, "exp": now + 60} | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    head = base64.urlsafe_b64encode(json.dumps({"alg": "EdDSA", "kid": user_keys.kid}).encode()).rstrip(b"=").decode()
    signature = base64.urlsafe_b64encode(user_keys.private_key.sign(f"{head}.{body}".encode())).rstrip(b"=").decode()
    problem = await refusal(user_keys.verifier(), f"{head}.{body}.{signature}")
    assert (problem.status, problem.code) == (401, "invalid_token")
    assert problem.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "é.é.é", "\ud800", "eyJ.eyJ.x", "." * 10, "x" * 5000, "e30.e30.e30", "bnVsbA.e30.e30"]
)
async def test_what_is_no_token_is_refused(user_keys: UserKeys, token: str) -> None:
    assert (await refusal(user_keys.verifier(), token)).code == "invalid_token"


async def test_expired(user_keys: UserKeys) -> None:
    problem = await refusal(user_keys.verifier(), user_keys.token(expires_in=-10))
    assert problem.code == "token_expired"


async def test_a_remembered_token_expires(user_keys: UserKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, token = user_keys.verifier(), user_keys.token(expires_in=100)
    await verifier.verify(token)
    later = time.time() + 101
    monkeypatch.setattr("common.auth.user_tokens.time.time", lambda: later)
    assert token not in repr(vars(verifier))
    monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
    assert (await refusal(verifier, token)).code == "token_expired"


class _Later(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Self:
        return cls.fromtimestamp(time.time() + 200, tz)


async def test_memory_of_tokens_is_bounded(user_keys: UserKeys) -> None:
    keys = StaticKeys({user_keys.kid: user_keys.public_key})
    verifier = UserTokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, max_verified=3)
    first = user_keys.token()
    await verifier.verify(first)
    for _ in range(5):
        await verifier.verify(first)
        await verifier.verify(user_keys.token())
    assert len(verifier._verified) == 3
    keys.replace({})
    assert (await refusal(verifier, first)).code == "invalid_token", "its key is gone, though it was good before"
    assert (await refusal(verifier, user_keys.token())).code == "invalid_token"


async def test_other_algorithms_are_refused(user_keys: UserKeys) -> None:
    now = int(time.time())
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid7()), "iat": now, "exp": now + 60}
    public = user_keys.public_key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    forged = [
        jwt.encode(payload, public * 2, algorithm="HS256", headers={"kid": user_keys.kid}),
        jwt.encode(payload, "", algorithm="none", headers={"kid": user_keys.kid}),
        UserKeys(user_keys.kid).token(),
        user_keys.token(headers={"kid": "unknown"}),
        user_keys.token(headers={"kid": "k" * 200}),
    ]
    for token in forged:
        assert (await refusal(user_keys.verifier(), token)).code == "invalid_token"


async def test_a_changed_payload_is_refused(user_keys: UserKeys) -> None:
    head, body, signature = user_keys.token(scopes=["posts:read"]).split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    payload["scope"] = "posts:write"
    changed = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    assert (await refusal(user_keys.verifier(), f"{head}.{changed}.{signature}")).code == "invalid_token"


async def test_keys_are_fetched_once_and_outlive_accounts(client: httpx.AsyncClient) -> None:
    keys = UserKeys()
    app = jwks_app(keys)
    async with serving(app) as url:
        verifier = UserTokenVerifier.for_accounts(url + "/", client, issuer=ISSUER, audience=AUDIENCE)
        assert verifier.healthy() is not None
        await verifier.start()
        await eventually(lambda: verifier.healthy() is None)
        claims = await asyncio.gather(*(verifier.verify(keys.token()) for _ in range(20)))
        assert all(isinstance(c, UserClaims) for c in claims)
        assert app.state.requests == 1
    assert isinstance(await verifier.verify(keys.token()), UserClaims)
    assert verifier.healthy() is None
    await verifier.stop()


async def test_unknown_kids_refetch_once_at_a_time_and_not_often(client: httpx.AsyncClient) -> None:
    keys = UserKeys("old")
    app = jwks_app(keys)
    async with serving(app) as url:
        source = RemoteKeys(url + "/.well-known/jwks.json", client, min_refetch_seconds=60)
        verifier = UserTokenVerifier(source, issuer=ISSUER, audience=AUDIENCE)
        await asyncio.gather(*(verifier.verify(keys.token()) for _ in range(10)))
        assert app.state.requests == 1
        rotated = UserKeys("new")
        for _ in range(20):
            await refusal(verifier, rotated.token())
        assert app.state.requests == 1
        keys.kid, keys.private_key, keys.public_key = rotated.kid, rotated.private_key, rotated.public_key
        # A minute passes.
        source._last_attempt -= 60
        assert isinstance(await verifier.verify(rotated.token()), UserClaims)
        await refusal(verifier, UserKeys("never").token())
        assert app.state.requests == 2


async def test_without_keys_tokens_cannot_be_judged(client: httpx.AsyncClient) -> None:
    keys = UserKeys()
    verifier = UserTokenVerifier.for_accounts("http://127.0.0.1:9", client, issuer=ISSUER, audience=AUDIENCE)
    problem = await refusal(verifier, keys.token())
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (503, "authentication_unavailable", "5")
    assert "no signing keys" in str(verifier.healthy())


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": []}),
        httpx.Response(200, json={"keys": [5, {"kty": "RSA"}, {"kty": "OKP", "crv": "Ed25519", "use": "enc"}]}),
        httpx.Response(200, json={"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "short"}]}),
        httpx.Response(200, content=b"x" * (key_source.MAX_JWKS_BYTES + 1)),
    ],
)
async def test_bad_key_sets_never_replace_good_ones(answer: httpx.Response) -> None:
    keys = UserKeys()
    answers = [httpx.Response(200, json=keys.jwks()), answer]
    transport = httpx.MockTransport(lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    async with httpx.AsyncClient(transport=transport) as client:
        source = RemoteKeys("http://accounts/jwks", client, min_refetch_seconds=0)
        assert await source.find(keys.kid) is not None
        with pytest.raises(Transient):
            await source.find("unknown")
        assert await source.find(keys.kid) is not None
        assert source.healthy() is None


async def test_a_closed_client_does_not_end_the_refresh() -> None:
    client = internal_client()
    await client.aclose()
    source = RemoteKeys("http://127.0.0.1:9", client)
    await source.start()
    await eventually(lambda: "RuntimeError" in str(source.healthy()))
    await source.stop()


async def test_a_component_that_was_never_started_stops(client: httpx.AsyncClient) -> None:
    source = RemoteKeys("http://127.0.0.1:9", client)
    await source.stop()
    static = StaticKeys({})
    await static.start()
    await static.stop()
    assert static.healthy() == "no signing keys"


async def test_first_fetch_is_retried_until_accounts_is_up(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_source, "FIRST_FETCH_RETRY_SECONDS", 0.02)
    keys = UserKeys()
    app = jwks_app(keys)
    async with serving(app) as url:
        port = int(url.rsplit(":", 1)[1])
    source = RemoteKeys(f"http://127.0.0.1:{port}/.well-known/jwks.json", client)
    await source.start()
    await eventually(lambda: "Connect" in str(source.healthy()))
    async with serving(app, port=port):
        await eventually(lambda: source.healthy() is None)
    await source.stop()
