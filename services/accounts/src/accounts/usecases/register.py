"""Registering a person."""

from uuid import UUID

from accounts.domain.identity import Email
from accounts.domain.user import User
from accounts.storage.users import insert_user
from common.contracts.accounts import UserRegistered
from common.contracts.context import Context
from common.database import Transaction
from common.errors import FieldError, Problem
from common.messaging.outbox import Outbox


async def register(
    tx: Transaction,
    outbox: Outbox,
    context: Context,
    *,
    user_id: UUID,
    email: Email,
    username: str,
    password_hash: str,
    timezone: str,
) -> User:
    """Store the person and tell of it. Raises Problem 409 `email_taken`."""
    user = await insert_user(
        tx.connection, user_id=user_id, email=email, username=username, password_hash=password_hash, timezone=timezone
    )
    if user is None:
        raise email_taken_problem()
    registered = UserRegistered(user_id=user.id, username=user.username, timezone=user.timezone)
    await outbox.emit(tx, registered, subject=str(user.id), context=context)
    return user


def email_taken_problem() -> Problem:
    """Return 409 `email_taken`."""
    detail = "Someone is registered with this email address."
    return Problem(409, "email_taken", detail, hint="Log in instead.", errors=[FieldError("email", "email_taken", detail)])
