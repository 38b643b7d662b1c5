"""New signing keys: published before they sign, old ones kept until their last token has ended, nobody logged out."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import jwt
import pytest
from aio_pika import ExchangeType
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from accounts.loops.retention import Retention
from accounts.operator_event import operator_events
from accounts.rotate_signing_keys import lines_of, rotate
from accounts.usecases.rotate_signing_keys import RETIRE_MARGIN, Rotation, rotate_signing_keys
from common.auth.user_tokens import UserTokenVerifier
from common.contracts.envelope import Envelope
from common.errors import Problem
from common.testing.amqp import broker_channel
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)
JWKS = "/.well-known/jwks.json"


async def rotated(accounts: Any, *, overlap: timedelta = timedelta(0), life: timedelta = DAY) -> Rotation:
    async with accounts.database.transaction() as tx:
        rotation = await rotate_signing_keys(tx, accounts.parts.vault, overlap=overlap, token_life=life)
    accounts.parts.keys._loop.wake()
    return rotation


async def signing_with(accounts: Any, kid: str) -> None:
    # Sooner than the look that it takes every 30 s.
    await eventually(lambda: accounts.parts.keys.signing_key().kid == kid, timeout=20)


async def published(accounts: Any) -> set[str]:
    return {key["kid"] for key in (await accounts.http.get(JWKS)).json()["keys"]}


@pytest.fixture
async def remote(accounts: Any) -> AsyncIterator[UserTokenVerifier]:
    """Give what the gateway verifies with: the key set over HTTP, cached."""
    verifier = UserTokenVerifier.for_accounts("http://accounts", accounts.http, issuer="cuepost", audience="cuepost-api")
    await verifier.start()
    await eventually(lambda: verifier.healthy() is None)
    yield verifier
    await verifier.stop()


async def test_a_new_key_is_published_before_it_signs_and_takes_over_at_its_moment(accounts: Any) -> None:
    old = accounts.parts.keys.signing_key().kid
    rotation = await rotated(accounts, overlap=timedelta(seconds=6))
    assert (rotation.begun, rotation.old_kids) == (True, (old,))
    assert rotation.old_until == rotation.signs_from + DAY + RETIRE_MARGIN

    async def shown() -> bool:
        return await published(accounts) == {old, rotation.kid}

    await eventually(shown)
    assert accounts.parts.keys.signing_key().kid == old
    before = await accounts.register()
    assert jwt.get_unverified_header(before.access_token)["kid"] == old
    await signing_with(accounts, rotation.kid)
    assert datetime.now(UTC) >= rotation.signs_from
    after = await accounts.register()
    assert jwt.get_unverified_header(after.access_token)["kid"] == rotation.kid


async def test_nobody_is_logged_out_and_new_tokens_are_good_at_once(accounts: Any, remote: UserTokenVerifier) -> None:
    """The verifier cached the key set before the rotation; it does not even have the overlap to learn of the new key."""
    before = await accounts.register()
    assert (await remote.verify(before.access_token)).user_id == before.user_id
    remote._keys._last_attempt = float("-inf")
    rotation = await rotated(accounts)
    await signing_with(accounts, rotation.kid)
    after = await accounts.register()
    assert (await remote.verify(after.access_token)).user_id == after.user_id
    remote._verified.clear()
    assert (await remote.verify(before.access_token)).user_id == before.user_id
    session = await accounts.http.post(
        "/internal/auth/refresh", json={"refresh_token": before.refresh_token}, headers=accounts.gateway
    )
    assert session.status_code == 200


async def test_an_old_key_verifies_until_it_is_retired_and_is_removed_later(accounts: Any) -> None:
    old = accounts.parts.keys.signing_key().kid
    person = await accounts.register()
    rotation = await rotated(accounts)
    await signing_with(accounts, rotation.kid)
    assert (await accounts.http.get("/internal/auth/me", headers=person.auth)).status_code == 200
    await accounts.execute(f"UPDATE signing_keys SET retired_at = now() WHERE kid = '{old}'")
    accounts.parts.keys._loop.wake()

    async def gone() -> bool:
        return await published(accounts) == {rotation.kid}

    await eventually(gone)
    fresh = UserTokenVerifier(accounts.parts.keys, issuer="cuepost", audience="cuepost-api")
    with pytest.raises(Problem) as caught:
        await fresh.verify(person.access_token)
    assert caught.value.code == "invalid_token"
    retention = Retention(accounts.database)
    await retention._remove()
    assert await accounts.scalar("SELECT count(*) FROM signing_keys") == 2
    await accounts.execute("UPDATE signing_keys SET retired_at = retired_at - interval '2 days'")
    await retention._remove()
    assert await accounts.scalar("SELECT kid FROM signing_keys") == rotation.kid


async def test_keys_that_others_know_are_ended_at_once_and_sessions_go_on(accounts: Any, remote: UserTokenVerifier) -> None:
    before = await accounts.register()
    await remote.verify(before.access_token)
    await rotated(accounts, overlap=timedelta(minutes=15))
    told = AsyncMock()
    rotation = await rotate(accounts.database, accounts.parts.vault, accounts.parts.settings, told, now=True)
    assert (len(rotation.old_kids), rotation.old_until) == (2, rotation.signs_from), "the one that waited ends, too"
    assert told.tell.await_count == 1
    accounts.parts.keys._loop.wake()
    await signing_with(accounts, rotation.kid)
    assert await published(accounts) == {rotation.kid}
    session = await accounts.http.post(
        "/internal/auth/refresh", json={"refresh_token": before.refresh_token}, headers=accounts.gateway
    )
    remote._keys._last_attempt = float("-inf")
    await remote.verify(session.json()["access_token"])
    assert (await accounts.http.get("/internal/auth/me", headers=before.auth)).status_code == 401
    with pytest.raises(Problem):
        await remote.verify(before.access_token)


async def test_rotations_at_once_are_one(accounts: Any) -> None:
    overlap = timedelta(minutes=15)
    rotations = await asyncio.gather(*(rotated(accounts, overlap=overlap) for _ in range(5)))
    assert sorted(rotation.begun for rotation in rotations) == [False] * 4 + [True]
    assert len({(rotation.kid, rotation.signs_from, rotation.old_until, rotation.old_kids) for rotation in rotations}) == 1
    assert await accounts.scalar("SELECT count(*) FROM signing_keys") == 2
    assert await accounts.scalar("SELECT count(*) FROM signing_keys WHERE retired_at IS NULL") == 1


async def test_the_next_rotation_leaves_the_end_of_older_keys_as_it_was(accounts: Any) -> None:
    first = await rotated(accounts)
    oldest_until = await accounts.scalar("SELECT max(retired_at) FROM signing_keys")
    second = await rotated(accounts, life=3 * DAY)
    assert first.kid in second.old_kids
    assert await accounts.scalar("SELECT min(retired_at) FROM signing_keys") == oldest_until
    assert await accounts.scalar("SELECT count(*) FROM signing_keys WHERE retired_at IS NULL") == 1


async def test_the_command_tells_the_audit_trail_and_prints_no_key(accounts: Any, broker_url: str) -> None:
    told: list[Envelope] = []

    async def take(message: Any) -> None:
        told.append(Envelope.model_validate_json(message.body))

    async with broker_channel(broker_url) as channel:
        exchange = await channel.declare_exchange("cuepost.events", ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "operator.action.v1")
        await queue.consume(take, no_ack=True)
        settings = accounts.parts.settings
        async with operator_events(settings.amqp_url) as events:
            rotations = [await rotate(accounts.database, accounts.parts.vault, settings, events) for _ in range(2)]
        await eventually(lambda: told)
    assert [rotation.begun for rotation in rotations] == [True, False]
    event = told[0]
    assert (len(told), event.source, event.subject) == (1, "/services/accounts", rotations[0].kid)
    assert event.actor is not None
    assert event.actor.startswith("operator:")
    assert event.data["action"] == "signing_keys_rotated"
    assert event.data["details"]["kid"] == rotations[0].kid
    shown = "\n".join(lines_of(rotations[0]) + lines_of(rotations[1]))
    assert rotations[0].kid in shown
    for sealed in [await accounts.scalar("SELECT string_agg(encode(private_key_sealed, 'escape'), ' ') FROM signing_keys")]:
        for one in sealed.split(" "):
            assert accounts.parts.vault.open(one.encode()).get_secret_value() not in shown + json.dumps(event.data)


async def test_a_rotation_that_the_audit_trail_does_not_hear_of_does_not_happen(accounts: Any) -> None:
    async def refuse(*_: Any) -> None:
        raise ConnectionError("the broker is away")

    deaf = SimpleNamespace(tell=refuse)
    with pytest.raises(ConnectionError):
        await rotate(accounts.database, accounts.parts.vault, accounts.parts.settings, deaf)  # type: ignore[arg-type]
    assert await accounts.scalar("SELECT count(*) FROM signing_keys") == 1


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_forged_tokens_are_refused(accounts: Any, remote: UserTokenVerifier) -> None:
    person = await accounts.register()
    good = jwt.decode(person.access_token, options={"verify_signature": False})
    key = accounts.parts.keys.signing_key()
    foreign = Ed25519PrivateKey.generate()
    public = key.private_key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signed(private: Ed25519PrivateKey = key.private_key, kid: str = key.kid, **claims: Any) -> str:
        return jwt.encode(good | claims, private, algorithm="EdDSA", headers={"kid": kid})

    def hmac_signed(secret: bytes) -> str:
        signed_part = f"{encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{encoded(good)}"
        mac = hmac.new(secret, signed_part.encode(), hashlib.sha256).digest()
        return f"{signed_part}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    none = {"alg": "none", "typ": "JWT", "kid": key.kid}
    forged = {
        "unknown kid": signed(kid="0193a000-0000-7000-8000-000000000001"),
        "kid of another kind": jwt.encode(good, key.private_key, algorithm="EdDSA", headers={"kid": "../../etc/passwd"}),
        "foreign key": signed(foreign),
        "alg none": f"{encoded(none)}.{encoded(good)}.",
        "alg None": f"{encoded(none | {'alg': 'None'})}.{encoded(good)}.",
        "HS256 with the public key": hmac_signed(public.public_bytes_raw()),
        "HS256 with the public key as PEM": hmac_signed(pem),
        "wrong issuer": signed(iss="someone"),
        "wrong audience": signed(aud="another-api"),
        "audience among several": signed(aud=["cuepost-api", "another-api"]),
        "no end": jwt.encode({k: v for k, v in good.items() if k != "exp"}, key.private_key, "EdDSA", {"kid": key.kid}),
        "other claims under the same signature": f"{encoded({'alg': 'EdDSA', 'kid': key.kid})}.{encoded(good | {'sub': 'x'})}."
        + person.access_token.rsplit(".", 1)[1],
        "expired": signed(exp=good["iat"] - 10),
    }
    assert (await remote.verify(signed())).user_id == person.user_id
    for name, token in forged.items():
        with pytest.raises(Problem) as caught:
            await remote.verify(token)
        expected = "token_expired" if name == "expired" else "invalid_token"
        assert (caught.value.status, caught.value.code) == (401, expected), name
        answer = await accounts.http.get("/internal/auth/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith("Bearer"), name
