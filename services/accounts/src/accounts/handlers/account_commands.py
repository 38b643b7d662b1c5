"""Commands about TikTok accounts that need nothing but the database: one transaction, then the reply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from accounts.account_answers import AccountDetailAnswer
from accounts.domain.account import AccountStatus
from accounts.handlers.owner import owner
from accounts.usecases.disconnect_account import RevokeTimes, disconnect_account
from accounts.usecases.update_account import update_account
from common.contracts.accounts import DisconnectAccount, UpdateAccount
from common.contracts.envelope import Envelope
from common.database import Transaction
from common.messaging.outbox import Outbox
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute, on_command


@dataclass(frozen=True, slots=True)
class AccountCommands:
    """Handlers with what they need; `wake_revoker` is called once a disconnection is committed.

    The grant is looked after `first_look` later, and revoked `patience` later at the latest.
    """

    outbox: Outbox
    wake_revoker: Callable[[], None]
    first_look: timedelta
    patience: timedelta

    def routes(self) -> Sequence[CommandRoute]:
        """Return the routes for the command queue."""
        return (on_command(UpdateAccount, self.update), on_command(DisconnectAccount, self.disconnect))

    async def update(self, tx: Transaction, command: UpdateAccount, envelope: Envelope) -> Reply:
        """Pause or resume: 200 with the account."""
        account = await update_account(
            tx,
            self.outbox,
            envelope.context,
            account_id=command.account_id,
            user_id=owner(envelope),
            status=AccountStatus(command.status),
        )
        return Reply(status=200, body=AccountDetailAnswer.of(account).model_dump(mode="json"))

    async def disconnect(self, tx: Transaction, command: DisconnectAccount, envelope: Envelope) -> Reply:
        """Disconnect: 204."""
        await disconnect_account(
            tx,
            self.outbox,
            envelope.context,
            account_id=command.account_id,
            user_id=owner(envelope),
            times=RevokeTimes(self.first_look, self.patience),
        )
        tx.after_commit(self.wake_revoker)
        return Reply(status=204)
