"""Where the public keys of user tokens come from: a fixed set, or the JWKS of accounts kept fresh in the background."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import httpx
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.auth.jwks import keys_of
from common.errors import Transient

FETCH_TIMEOUT_SECONDS = 2.0
MIN_REFETCH_SECONDS = 5.0
FIRST_FETCH_RETRY_SECONDS = 0.5
REFRESH_SECONDS = 300.0
MAX_JWKS_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """Finds a public key by its `kid`."""

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key, None when it does not exist; Transient when that cannot be known now."""

    async def start(self) -> None:
        """Begin to keep the keys fresh."""

    async def stop(self) -> None:
        """Stop keeping them fresh."""

    def healthy(self) -> str | None:
        """None when keys are at hand, else the reason why not."""


class StaticKeys:
    """A fixed set of keys (accounts itself, tests)."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key or None."""
        return self._keys.get(kid)

    def replace(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """Use another set from now on (key rotation)."""
        self._keys = dict(keys)

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def healthy(self) -> str | None:
        """Return None when there is a key."""
        return None if self._keys else "no signing keys"


class RemoteKeys:
    """The JWKS at `url`, cached.

    Refreshed every 5 minutes and when an unknown `kid` turns up, then at most once per 5 s and by one fetch at a time. While
    accounts is away the last set keeps working.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, *, min_refetch_seconds: float = MIN_REFETCH_SECONDS) -> None:
        self._url = url
        self._client = client
        self._min_refetch = min_refetch_seconds
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetch_lock = asyncio.Lock()
        self._last_attempt = float("-inf")
        self._last_failure: str | None = "not fetched yet"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to fetch in the background; does not wait for accounts."""
        self._task = asyncio.create_task(self._keep_fresh(), name="jwks-refresh")

    async def stop(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def healthy(self) -> str | None:
        """Return None once a key set was fetched, else why there is none."""
        return None if self._keys else f"no signing keys of user tokens: {self._last_failure}"

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of `kid`, fetching the set when it is not known.

        Raises Transient when the key is unknown and the set could not be fetched.
        """
        key = self._keys.get(kid)
        if key is not None:
            return key
        await self._refetch()
        key = self._keys.get(kid)
        if key is None and self._last_failure is not None:
            raise Transient("the signing keys of user tokens cannot be fetched", retry_after=self._min_refetch)
        return key

    async def _refetch(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._fetch_lock:
            if self._last_attempt >= asked_at or loop.time() - self._last_attempt < self._min_refetch:
                return
            await self._fetch()

    async def _fetch(self) -> None:
        self._last_attempt = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                response = await self._client.get(self._url)
            keys = _keys_in(response)
        except Exception as error:  # noqa: BLE001 - whatever it is, the keys at hand stay and the next fetch may succeed
            self._last_failure = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            log.warning("jwks_fetch_failed", url=self._url, reason=self._last_failure)
            return
        self._keys, self._last_failure = keys, None

    async def _keep_fresh(self) -> None:
        while True:
            async with self._fetch_lock:
                await self._fetch()
            await asyncio.sleep(REFRESH_SECONDS if self._last_failure is None else FIRST_FETCH_RETRY_SECONDS)


def _keys_in(response: httpx.Response) -> dict[str, Ed25519PublicKey]:
    response.raise_for_status()
    if len(response.content) > MAX_JWKS_BYTES:
        raise ValueError("key set too large")
    keys = keys_of(response.json())
    if not keys:
        raise ValueError("key set without usable keys")
    return keys
