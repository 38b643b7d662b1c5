"""A connection that did not come about."""

from dataclasses import replace
from uuid import UUID

from accounts.usecases.tell_refusals import refusals_to_tell
from common.contracts.accounts import ConnectFailed
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox


async def fail_connecting(tx: Transaction, outbox: Outbox, context: Context, *, user_id: UUID | None, reason: str) -> None:
    """Tell that connecting failed, for the user who began it.

    Without one (the state is unknown or was used up) anybody may have come: then at most once a minute for each address.
    """
    if user_id is not None:
        await outbox.emit(tx, ConnectFailed(user_id=user_id, reason=reason), subject=str(user_id), context=context)
        return
    times = await refusals_to_tell(tx, context, "connect")
    if times:
        failed = ConnectFailed(user_id=None, reason=reason, times=times)
        await outbox.emit(tx, failed, subject="unknown", context=replace(context, actor=None))
