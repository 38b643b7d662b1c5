"""Follows ENCRYPTION_KEY_FILE without a restart, and tells the other replicas' operator what this one holds."""

import asyncio
import signal
import time
from pathlib import Path
from uuid import uuid4

import structlog

from accounts.security.encryption_keys import fingerprint, keys_of_file
from accounts.security.vault import Vault
from accounts.storage.encryption_key_holders import forget_held_keys, tell_held_keys
from common.database import Database
from common.database.failures import is_database_away
from common.due_loop import DueLoop, StepResult

LOOK_EVERY_SECONDS = 1.0
TELL_EVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class HeldKeys(DueLoop):
    """Looks at the file every second, at SIGHUP, and when something cannot be opened; without a file it only tells.

    A file that is gone or malformed changes nothing but readiness: the keys of before stay in use.
    """

    def __init__(self, database: Database, vault: Vault, *, instance: str, path: Path | None) -> None:
        super().__init__("encryption-keys", self._step, max_sleep=LOOK_EVERY_SECONDS)
        self._database = database
        self._vault = vault
        self._instance = instance
        self._path = path
        self._id = uuid4()
        self._refused: str | None = None
        self._told: tuple[tuple[str, ...], str | None] | None = None
        self._told_at = float("-inf")
        if path is not None:
            vault.look_again = self.look

    async def start(self) -> None:
        """Begin to look and tell."""
        held = self._vault.fingerprints
        log.info("encryption_keys_held", number=len(held), fingerprints=list(held), followed=self._path is not None)
        if self._path is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.wake)
        await super().start()

    async def stop(self) -> None:
        """End, and tell that this replica holds nothing any more."""
        if self._path is not None:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        await super().stop()
        try:
            async with self._database.transaction() as tx:
                await forget_held_keys(tx.connection, self._id)
        except Exception as error:
            if not is_database_away(error):
                raise
            log.info("held_keys_not_forgotten", reason=type(error).__name__)

    def healthy(self) -> str | None:
        """Return None, or why the file is not followed."""
        return super().healthy() or self._refused

    def look(self) -> bool:
        """Take up what the file holds now; returns whether these are other keys than before."""
        if self._path is None:
            return False
        try:
            keys = keys_of_file(self._path)
        except ValueError as error:
            self._refuse(f"ENCRYPTION_KEY_FILE {error}; the keys of before stay in use")
            return False
        if self._refused is not None:
            log.info("encryption_key_file_good_again")
            self._refused = None
        held = tuple(fingerprint(key) for key in keys)
        if held == self._vault.fingerprints:
            return False
        self._vault.take(keys)
        log.info("encryption_keys_taken_up", number=len(held), fingerprints=list(held))
        return True

    def _refuse(self, reason: str) -> None:
        if self._refused != reason:
            log.error("encryption_key_file_refused", reason=reason)
        self._refused = reason

    async def _step(self) -> StepResult:
        self.look()
        told = (self._vault.fingerprints, self._refused)
        if told != self._told or time.monotonic() - self._told_at >= TELL_EVERY_SECONDS:
            async with self._database.transaction() as tx:
                await tell_held_keys(tx.connection, self._id, instance=self._instance, fingerprints=told[0], refused=told[1])
            self._told, self._told_at = told, time.monotonic()
        return StepResult(next_in=LOOK_EVERY_SECONDS)
