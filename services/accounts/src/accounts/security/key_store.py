"""The Ed25519 keys that sign user JWTs: in the database, private halves sealed, the first one made at first start."""

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr

from accounts.security.vault import Vault
from accounts.storage.signing_keys import NewKey, StoredKey, insert_signing_key, lock_signing_keys, usable_keys
from common.auth.keys import private_key_from, private_key_text
from common.database import Database
from common.due_loop import DueLoop, StepResult
from common.ids import uuid7

RELOAD_SECONDS = 30.0
UNKNOWN_KID_RELOAD_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key to sign with now."""

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)


class KeyStore:
    """A component and a key source for verifying.

    It reads the keys again every 30 s, at the moment when one begins to sign, and when an unknown `kid` turns up. Replicas that
    start at the same time on an empty database make one key between them (advisory lock).
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._public: dict[str, Ed25519PublicKey] = {}
        self._signing: SigningKey | None = None
        self._read_at = float("-inf")
        self._reload_lock = asyncio.Lock()
        self._loop = DueLoop("signing-keys", self._step, max_sleep=RELOAD_SECONDS)

    async def start(self) -> None:
        """Make the first key if there is none, load all, and keep them fresh. Raises when the database is away."""
        async with self._database.transaction() as tx:
            await lock_signing_keys(tx.connection)
            keys = await usable_keys(tx.connection)
            if not any(key.active for key in keys):
                made = new_key(self._vault)
                await insert_signing_key(tx.connection, made)
                log.info("signing_key_made", kid=made.kid)
                keys = await usable_keys(tx.connection)
        self._take(keys)
        await self._loop.start()

    async def stop(self) -> None:
        """Stop keeping them fresh."""
        await self._loop.stop()

    def healthy(self) -> str | None:
        """Return None when there is a key to sign with."""
        return None if self._signing is not None else "no signing key"

    def signing_key(self) -> SigningKey:
        """Return the newest active key."""
        if self._signing is None:
            raise RuntimeError("the key store has not been started")
        return self._signing

    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """Return every key that tokens may be verified with, those included that will sign soon."""
        return dict(self._public)

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key; an unknown one is looked for in the database, at most every 2 s."""
        if kid not in self._public:
            async with self._reload_lock:
                if kid not in self._public and time.monotonic() - self._read_at > UNKNOWN_KID_RELOAD_SECONDS:
                    await self._reload()
        return self._public.get(kid)

    async def _step(self) -> StepResult:
        async with self._reload_lock:
            keys = await self._reload()
        return StepResult(next_in=min((key.active_in for key in keys if not key.active), default=None))

    async def _reload(self) -> list[StoredKey]:
        async with self._database.read() as connection:
            keys = await usable_keys(connection)
        self._take(keys)
        return keys

    def _take(self, keys: list[StoredKey]) -> None:
        self._read_at = time.monotonic()
        self._public = {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in keys}
        newest = next((key for key in keys if key.active), None)
        if newest is not None and (self._signing is None or self._signing.kid != newest.kid):
            seed = self._vault.open(newest.private_key_sealed)
            self._signing = SigningKey(newest.kid, private_key_from(seed.get_secret_value()))


def new_key(vault: Vault) -> NewKey:
    """Return a new key pair, its private half sealed."""
    private_key = Ed25519PrivateKey.generate()
    return NewKey(
        kid=str(uuid7()),
        public_key=private_key.public_key().public_bytes_raw(),
        private_key_sealed=vault.seal(SecretStr(private_key_text(private_key))),
    )
