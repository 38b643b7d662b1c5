import time
from typing import Any

import jwt
import pytest

from common.auth.keys import (
    b64url_decode,
    b64url_encode,
    private_key_from,
    private_key_text,
    public_key_from,
    public_key_text,
    public_keys_from,
)
from common.auth.service_tokens import MAX_CACHED_TOKENS, ServiceTokenSigner, ServiceTokenVerifier
from common.errors import Problem
from common.testing.keys import ServiceKeys


def refusal(verifier: ServiceTokenVerifier, token: str, *allowed: str) -> Problem:
    with pytest.raises(Problem) as caught:
        verifier.verify(token, allowed=allowed or ("gateway",))
    return caught.value


def test_a_service_is_recognised(service_keys: ServiceKeys) -> None:
    verifier = service_keys.verifier("accounts")
    token = service_keys.signer("gateway").token("accounts")
    assert verifier.verify(token, allowed={"gateway"}) == "gateway"
    assert verifier.verify(token, allowed={"gateway"}) == "gateway"


def test_each_route_says_who_may_call(service_keys: ServiceKeys) -> None:
    token = service_keys.signer("analytics").token("accounts")
    problem = refusal(service_keys.verifier("accounts"), token, "gateway", "publisher")
    assert (problem.status, problem.code) == (403, "caller_not_allowed")


def test_a_token_for_another_service_is_refused(service_keys: ServiceKeys) -> None:
    token = service_keys.signer("gateway").token("scheduler")
    assert refusal(service_keys.verifier("accounts"), token).code == "invalid_token"


def test_a_service_cannot_speak_for_another(service_keys: ServiceKeys) -> None:
    forged = ServiceTokenSigner("gateway", private_key_from(service_keys.private_text("analytics"))).token("accounts")
    assert refusal(service_keys.verifier("accounts"), forged).code == "invalid_token"
    unknown = ServiceTokenSigner("stranger", service_keys.private_text("analytics")).token("accounts")
    assert refusal(service_keys.verifier("accounts"), unknown).code == "invalid_token"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": -100}, "token_expired"),
        ({"exp": None}, "invalid_token"),
        ({"iat": None}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
    ],
)
def test_bad_claims(service_keys: ServiceKeys, changes: dict[str, int | None], code: str) -> None:
    now = int(time.time())
    claims: dict[str, Any] = {"iss": "gateway", "aud": "accounts", "iat": now, "exp": now + 60}
    for name, change in changes.items():
        claims.pop(name)
        if change is not None:
            claims[name] = now + change
    token = jwt.encode(claims, private_key_from(service_keys.private_text("gateway")), algorithm="EdDSA")
    assert refusal(service_keys.verifier("accounts"), token).code == code


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "x" * 5000, "e30.e30.", "e30.W10.x"])
def test_what_is_no_token(service_keys: ServiceKeys, token: str) -> None:
    assert refusal(service_keys.verifier("accounts"), token).code == "invalid_token"


def test_tokens_are_reused_until_near_their_end(service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = service_keys.signer("gateway")
    first = signer.token("accounts")
    assert signer.token("accounts") == first
    assert signer.token("scheduler") != first
    now = time.time()
    monkeypatch.setattr("common.auth.service_tokens.time.time", lambda: now + 39)
    assert signer.token("accounts") == first
    monkeypatch.setattr("common.auth.service_tokens.time.time", lambda: now + 41)
    assert signer.token("accounts") != first


def test_a_remembered_token_expires(service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = service_keys.verifier("accounts")
    now = int(time.time())
    key = private_key_from(service_keys.private_text("gateway"))
    claims = {"iss": "gateway", "aud": "accounts", "iat": now - 70, "exp": now - 2}
    token = jwt.encode(claims, key, algorithm="EdDSA")
    assert verifier.verify(token, allowed={"gateway"}) == "gateway"
    monkeypatch.setattr("common.auth.service_tokens.LEEWAY_SECONDS", 0)
    assert refusal(verifier, token).code == "token_expired"


def test_memory_of_tokens_is_bounded(service_keys: ServiceKeys) -> None:
    verifier = service_keys.verifier("accounts")
    for _ in range(MAX_CACHED_TOKENS + 5):
        verifier.verify(service_keys.signer("gateway").token("accounts"), allowed={"gateway"})
    assert len(verifier._verified) <= MAX_CACHED_TOKENS


def test_public_keys_may_be_texts(service_keys: ServiceKeys) -> None:
    verifier = ServiceTokenVerifier("accounts", service_keys.public_texts())
    assert verifier.verify(service_keys.signer("publisher").token("accounts"), allowed={"publisher"}) == "publisher"


def test_keys_as_text_round_trip(service_keys: ServiceKeys) -> None:
    text = service_keys.private_text("gateway")
    assert private_key_text(private_key_from(text)) == text
    assert private_key_text(private_key_from(text + "=")) == text
    public = service_keys.public_texts()["gateway"]
    assert public_key_text(public_key_from(public)) == public
    assert b64url_decode(b64url_encode(b"\xff\xfe")) == b"\xff\xfe"


@pytest.mark.parametrize("text", ["", "short", "!" * 43, "é" * 43, "A" * 44])
def test_malformed_keys_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64url") as caught:
        public_keys_from({"gateway": text})
    assert text == "" or text not in str(caught.value)
