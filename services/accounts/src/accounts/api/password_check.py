"""Looking at a password that somebody sent: counted as an attempt ahead of its outcome, slowed down after failures, and told of."""

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from fastapi import Request
from pydantic import SecretStr

from accounts.domain.user import Credentials
from accounts.metrics import LOGINS
from accounts.parts import Parts
from accounts.security.passwords import Verdict
from accounts.storage.users import CredentialsFinder, lock_credentials
from accounts.usecases.login import (
    LoginAttempt,
    TooEarly,
    begin_login,
    fail_login,
    forget_attempt,
    pass_login,
    refuse_login,
    too_many_attempts,
)
from common.contracts.context import Context
from common.database import Transaction
from common.errors import Problem, Transient
from common.http.identity import request_context


class PasswordCheck:
    """One attempt at a password: `begin`, then `right`, then `settle` in the transaction that uses it."""

    def __init__(
        self,
        request: Request,
        parts: Parts,
        attempt: LoginAttempt,
        find: CredentialsFinder,
        *,
        refusal: Callable[[], Problem],
        reason: Literal["invalid_credentials", "wrong_current_password"],
    ) -> None:
        """`find` reads whose password it is; `refusal` is the answer to a wrong one, and `reason` what its event says."""
        self._request = request
        self._parts = parts
        self._attempt = attempt
        self._find = find
        self._refusal = refusal
        self._reason = reason

    async def begin(self) -> None:
        """Count the attempt as failed. Raises Problem 429 `too_many_attempts`, nothing counted, when it comes too early."""
        wait = await self._wait_before()
        if wait is None:
            return
        known = await self._found()
        async with self._parts.database.transaction() as tx:
            user_id = None if known is None else known.user_id
            await refuse_login(tx, self._parts.outbox, self.context(known), user_id=user_id)
        LOGINS.labels("too_many_attempts").inc()
        raise too_many_attempts(wait)

    async def right(self, password: SecretStr) -> tuple[Credentials, Verdict]:
        """Return whose password it is. Raises the refusal when it is wrong, Transient when there is no place to look at it."""
        known = await self._found()
        try:
            verdict = await self._parts.passwords.verify(known.password_hash if known is not None else None, password)
        except Transient:
            await self.forget()
            raise
        if known is None or not verdict.fits:
            async with self._parts.database.transaction() as tx:
                user_id = None if known is None else known.user_id
                await fail_login(tx, self._parts.outbox, self.context(known), user_id=user_id, reason=self._reason)
            LOGINS.labels("invalid_credentials").inc()
            raise self._refusal()
        return known, verdict

    async def settle(self, tx: Transaction, known: Credentials) -> bool:
        """Take the attempt for a success, and keep the password as it is until the transaction ends.

        False, and nothing happens, when another password or hash was stored since it was looked at: look again.
        """
        if not await lock_credentials(tx.connection, known):
            return False
        await pass_login(tx, self._attempt, self._parts.login_limits)
        return True

    async def forget(self) -> None:
        """Let the attempt count as none: there was no place for its hashes."""
        LOGINS.labels("busy").inc()
        async with self._parts.database.transaction() as tx:
            await forget_attempt(tx, self._attempt, self._parts.login_limits)

    def context(self, known: Credentials | None) -> Context:
        """Return the context of what follows."""
        return request_context(self._request, user_id=None if known is None else known.user_id)

    async def _wait_before(self) -> timedelta | None:
        try:
            async with self._parts.database.transaction() as tx:
                await begin_login(tx, self._attempt, self._parts.login_limits)
        except TooEarly as refused:
            return refused.wait
        return None

    async def _found(self) -> Credentials | None:
        async with self._parts.database.read() as connection:
            return await self._find(connection)
