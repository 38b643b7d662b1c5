"""Logging in: slowed down after failures, and silent about which emails exist. A change of the password is counted alike."""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from uuid import UUID

from accounts.domain.throttle import ThrottleRule, counted_address
from accounts.security.opaque import digest
from accounts.storage.throttles import clear_failures, give_back_attempt, take_attempt
from accounts.usecases.tell_refusals import refusals_to_tell
from common.contracts.accounts import LoginFailed
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem
from common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many failures are free, per person and per client address."""

    person: ThrottleRule
    address: ThrottleRule


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Hashes of whom a login is for and where it comes from."""

    person: bytes
    address: bytes | None

    @classmethod
    def of(cls, email_key: str, client_ip: str | None) -> "LoginAttempt":
        """Return the attempt's subjects; neither email nor address is stored in the clear."""
        address = digest(f"address:{counted_address(client_ip)}") if client_ip else None
        return cls(digest(f"email:{email_key}"), address)


class TooEarly(Exception):
    """There were too many failures: `wait` has to pass before the next attempt."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(wait)
        self.wait = wait


async def begin_login(tx: Transaction, attempt: LoginAttempt, limits: LoginLimits) -> None:
    """Count the attempt. Raises TooEarly when it may not be made now; the transaction has to end with that, rolled back.

    Nobody looks at the password of a refused attempt, so it counts for nothing: for a person who has to wait, it would else block
    everyone at the same address.
    """
    if attempt.address is not None:
        await _take(tx, attempt.address, limits.address)
    await _take(tx, attempt.person, limits.person)


async def pass_login(tx: Transaction, attempt: LoginAttempt, limits: LoginLimits) -> None:
    """Forget the person's failures; from the address only this attempt is taken back."""
    if attempt.address is not None:
        await give_back_attempt(tx.connection, attempt.address, limits.address)
    await clear_failures(tx.connection, attempt.person)


async def forget_attempt(tx: Transaction, attempt: LoginAttempt, limits: LoginLimits) -> None:
    """Take the attempt back: nobody looked at its password."""
    if attempt.address is not None:
        await give_back_attempt(tx.connection, attempt.address, limits.address)
    await give_back_attempt(tx.connection, attempt.person, limits.person)


async def fail_login(tx: Transaction, outbox: Outbox, context: Context, *, user_id: UUID | None, reason: str) -> None:
    """Tell of a wrong password; `user_id` is None for an unknown email."""
    failed = LoginFailed(user_id=user_id, reason=reason)
    await outbox.emit(tx, failed, subject=str(user_id or "unknown"), context=context)


async def refuse_login(tx: Transaction, outbox: Outbox, context: Context, *, user_id: UUID | None) -> None:
    """Tell of an attempt that came too early, at most once a minute for each address and person; all unknown ones count as one."""
    times = await refusals_to_tell(tx, context, "login", "" if user_id is None else str(user_id))
    if times:
        failed = LoginFailed(user_id=user_id, reason="too_many_attempts", times=times)
        await outbox.emit(tx, failed, subject=str(user_id or "unknown"), context=context)


def invalid_credentials() -> Problem:
    """Return 401 `invalid_credentials`, the same for a wrong password and an unknown email."""
    return Problem(
        401, "invalid_credentials", "Email or password is wrong.", headers={"WWW-Authenticate": 'Bearer realm="login"'}
    )


def too_many_attempts(wait: timedelta) -> Problem:
    """Return 429 `too_many_attempts` with `Retry-After`."""
    seconds = max(1, ceil(wait.total_seconds()))
    return Problem(
        429,
        "too_many_attempts",
        "There were too many failed logins.",
        hint=f"Try again in {seconds} seconds.",
        headers={"Retry-After": str(seconds)},
    )


async def _take(tx: Transaction, subject: bytes, rule: ThrottleRule) -> None:
    wait = await take_attempt(tx.connection, subject, rule)
    if wait is not None:
        raise TooEarly(wait)
