"""Starting to connect a TikTok account."""

from datetime import timedelta
from uuid import UUID

from pydantic import SecretStr

from accounts.security.opaque import digest
from accounts.security.vault import Vault
from accounts.storage.oauth_states import insert_state
from common.database import Transaction


async def start_connecting(
    tx: Transaction,
    vault: Vault,
    *,
    user_id: UUID,
    state: SecretStr,
    code_verifier: SecretStr,
    return_url: str | None,
    life: timedelta,
) -> None:
    """Store the state by its hash, bound to the user, with the sealed PKCE verifier; it is good once, for `life`."""
    await insert_state(
        tx.connection,
        state_hash=digest(state),
        user_id=user_id,
        code_verifier_sealed=vault.seal(code_verifier),
        return_url=return_url,
        life=life,
    )
