"""From TikTok's token answer to a sealed pair with its life."""

import random
from datetime import datetime, timedelta

from accounts.domain.token_life import token_life
from accounts.security.vault import Vault
from accounts.storage.account_tokens import SealedPair
from common.ids import uuid7
from tiktok.oauth import TokenGrant


def seal_grant(vault: Vault, grant: TokenGrant, *, asked_at: datetime, ahead: timedelta) -> SealedPair:
    """Return the pair to store. Lifetimes count from `asked_at`, just before the call, so that they are never too long."""
    return SealedPair(
        pair_id=uuid7(),
        access_token=vault.seal(grant.access_token),
        refresh_token=vault.seal(grant.refresh_token),
        life=token_life(
            asked_at,
            expires_in=grant.expires_in,
            refresh_expires_in=grant.refresh_expires_in,
            ahead=ahead,
            spread=random.random(),  # noqa: S311 - spreads load, not a secret
        ),
    )
