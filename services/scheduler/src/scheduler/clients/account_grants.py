"""How long TikTok's permission for an account lasts and what it is for, as far as that is known within a second."""

from uuid import UUID

import structlog

from scheduler.clients.accounts import AccountsAway, AccountsClient, FoundAccount
from scheduler.clients.remembered import Remembered

_log = structlog.get_logger(__name__)


class AccountGrants:
    """Asks accounts for an account as it is now, and remembers it for a minute."""

    def __init__(self, accounts: AccountsClient) -> None:
        self._accounts = accounts
        self.remembered = Remembered(self._ask)

    async def look(self, account_id: UUID, user_id: UUID) -> FoundAccount | None:
        """Return the account with its grant, None when that cannot be found out within a second."""
        return await self.remembered.look(account_id, user_id)

    async def _ask(self, account_id: UUID, user_id: UUID, patience: float) -> FoundAccount | None:
        try:
            return await self._accounts.look_up(user_id, account_id, patience=patience)
        except AccountsAway as error:
            _log.info("grant_unknown", account_id=str(account_id), reason=str(error))
            return None
