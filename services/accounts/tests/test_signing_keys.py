"""The key set: made once whoever starts first, sealed, shared by replicas, replaced without logging anyone out."""

import asyncio
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text

from accounts.security.key_store import KeyStore, new_key
from accounts.security.vault import SealBroken, Vault
from accounts.storage.signing_keys import NewKey, insert_signing_key, usable_keys
from common.auth.jwks import keys_of
from common.auth.key_source import StaticKeys
from common.auth.keys import private_key_text
from common.auth.user_tokens import UserTokenVerifier

pytestmark = pytest.mark.integration


async def test_replicas_that_start_at_once_make_one_key(accounts: Any, settings: Any) -> None:
    await accounts.execute("DELETE FROM signing_keys")
    stores = [KeyStore(accounts.database, Vault(settings.encryption_keys)) for _ in range(6)]
    await asyncio.gather(*(store.start() for store in stores))
    assert len({store.signing_key().kid for store in stores}) == 1
    assert await accounts.scalar("SELECT count(*) FROM signing_keys") == 1
    await asyncio.gather(*(store.stop() for store in stores))


async def test_a_key_made_while_this_transaction_waited_is_active(accounts: Any) -> None:
    """`now()` is when a transaction began: a replica that waited for the lock must not overlook the key made meanwhile."""
    await accounts.execute("DELETE FROM signing_keys")
    async with accounts.database.transaction() as early:
        await early.connection.execute(text("SELECT now()"))
        async with accounts.database.transaction() as later:
            await insert_signing_key(later.connection, NewKey("k", bytes(32), b"sealed"))
        assert [key.active for key in await usable_keys(early.connection)] == [True]
    await accounts.execute("DELETE FROM signing_keys")


async def test_anyone_can_verify_with_the_published_keys(accounts: Any) -> None:
    person = await accounts.register()
    answer = await accounts.http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    published = answer.json()
    assert {name for key in published["keys"] for name in key} == {"kty", "crv", "alg", "use", "kid", "x"}
    verifier = UserTokenVerifier(StaticKeys(keys_of(published)), issuer="cuepost", audience="cuepost-api")
    claims = await verifier.verify(person.access_token)
    assert (claims.user_id, claims.scopes) == (person.user_id, None)


async def test_the_private_key_is_sealed(accounts: Any) -> None:
    seed = private_key_text(accounts.parts.keys.signing_key().private_key)
    stored = await accounts.scalar("SELECT private_key_sealed FROM signing_keys")
    assert seed.encode() not in stored
    assert accounts.parts.vault.open(stored).get_secret_value() == seed


async def test_a_new_key_signs_and_the_old_one_still_verifies(accounts: Any, start: Any) -> None:
    person = await accounts.register()
    made = new_key(accounts.parts.vault)
    async with accounts.database.transaction() as tx:
        await insert_signing_key(tx.connection, made)
    other = await start()
    assert other.parts.keys.signing_key().kid == made.kid
    later = await other.register()
    accounts.parts.keys._read_at = float("-inf")
    for replica in (accounts, other):
        for who in (person, later):
            assert (await replica.http.get("/internal/auth/me", headers=who.auth)).status_code == 200
    assert len((await accounts.http.get("/.well-known/jwks.json")).json()["keys"]) == 2


def test_encryption_keys_rotate() -> None:
    old, new = (SecretStr(Fernet.generate_key().decode()) for _ in range(2))
    sealed = Vault([old]).seal(SecretStr("act.secret"))
    both = Vault([new, old])
    assert both.open(sealed).get_secret_value() == "act.secret"
    resealed = both.reseal(sealed)
    assert Vault([new]).open(resealed).get_secret_value() == "act.secret"
    for vault in (Vault([new]), Vault([SecretStr(Fernet.generate_key().decode())])):
        with pytest.raises(SealBroken) as caught:
            vault.open(sealed)
        assert "act.secret" not in str(caught.value)
        with pytest.raises(SealBroken):
            vault.reseal(b"nonsense")
