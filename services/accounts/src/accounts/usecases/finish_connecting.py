"""Coming back from TikTok: the state is used up first, whatever else the callback says."""

from dataclasses import dataclass, field
from uuid import UUID

from pydantic import SecretStr

from accounts.security.opaque import digest
from accounts.security.vault import Vault
from accounts.storage.oauth_states import consume_state
from common.database import Transaction
from common.errors import Problem


@dataclass(frozen=True, slots=True)
class Connecting:
    """Who is connecting, with the verifier to exchange the code with, and where the browser goes afterwards."""

    user_id: UUID
    code_verifier: SecretStr = field(repr=False)
    return_url: str | None


@dataclass(frozen=True, slots=True)
class TooLate:
    """Who began, but too long ago."""

    user_id: UUID


async def finish_connecting(tx: Transaction, vault: Vault, state: SecretStr) -> Connecting | TooLate | None:
    """Use the state up and return who started it, `TooLate` when it has expired; None when it is unknown or was used."""
    consumed = await consume_state(tx.connection, digest(state))
    if consumed is None:
        return None
    if consumed.expired:
        return TooLate(consumed.user_id)
    return Connecting(consumed.user_id, vault.open(consumed.code_verifier_sealed), consumed.return_url)


def invalid_state() -> Problem:
    """Return 400 `invalid_state`."""
    return Problem(
        400,
        "invalid_state",
        "This connection attempt is unknown, was finished already, or is too old.",
        hint="Start connecting again; an attempt is good once, for ten minutes.",
    )
