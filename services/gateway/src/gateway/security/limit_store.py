"""Where requests are counted: in this process, or in a Valkey or Redis that all replicas share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from limits.aio.storage import MemoryStorage, RedisStorage
from pydantic import SecretStr

if TYPE_CHECKING:
    from valkey.asyncio import ConnectionPool

ANSWER_SECONDS = 1.0
"""Longest wait for a connection and for an answer: every request waits for its count."""
MAX_CONNECTIONS = 100
KEY_PREFIX = "cuepost-limits"
OWN = "memory"
_VALKEY = {
    "redis": "valkey",
    "rediss": "valkeys",
    "valkey": "valkey",
    "valkeys": "valkeys",
    "redis+unix": "unix",
    "valkey+unix": "unix",
}
"""Scheme of the setting -> what the client calls it; with one more `s`: by TLS."""


@dataclass(frozen=True, slots=True)
class SharedStore:
    """A storage of the `limits` library and the connections under it."""

    storage: RedisStorage
    pool: ConnectionPool

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.disconnect()


def own_store() -> MemoryStorage:
    """Return a storage that counts for this process alone."""
    return MemoryStorage(wrap_exceptions=True)


def shared_store(uri: SecretStr) -> SharedStore | None:
    """Return the storage at an address that `check_storage` accepts, None for `memory://`; connects when first used."""
    text = uri.get_secret_value()
    scheme, _, rest = text.partition("://")
    if scheme == OWN:
        return None
    # Only here: its modules take 8 MB, of every gateway that counts for itself too.
    from valkey.asyncio import ConnectionPool

    pool = ConnectionPool.from_url(
        f"{_VALKEY[scheme]}://{rest}",
        max_connections=MAX_CONNECTIONS,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
    )
    # A pool is what it documents for this argument; its annotation leaves it out.
    options: dict[str, Any] = {"connection_pool": pool}
    storage = RedisStorage("async+valkey://", wrap_exceptions=True, implementation="valkey", key_prefix=KEY_PREFIX, **options)
    return SharedStore(storage, pool)


def check_storage(uri: SecretStr) -> SecretStr:
    """Return the address; ValueError, which does not repeat it, when no storage is at such an address."""
    parts = urlsplit(uri.get_secret_value())
    if parts.scheme != OWN and parts.scheme not in _VALKEY:
        raise ValueError(f"must begin with {OWN}://, valkey:// or redis:// (valkeys:// and rediss:// by TLS)")
    if parts.scheme in _VALKEY and not (parts.path if parts.scheme.endswith("+unix") else parts.hostname):
        raise ValueError("names no host")
    try:
        shared_store(uri)
    except ValueError:
        raise ValueError("is not a valid address") from None
    return uri
