"""Passwords: argon2id, in threads of their own so that hashing never blocks the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import SecretStr

from common.errors import Transient

T = TypeVar("T")
WAITING_MAX = 64
"""So many may wait for a thread; more are asked to come back, before they wait longer than a client would."""
BUSY_RETRY_SECONDS = 2.0
NEXT_TO_NOTHING = 0.05
"""Of a hash's work: less than what a machine's own unsteadiness makes of it."""
LEAST_MEMORY_KIB = 8
UNKNOWN = "no user has this password"


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """How expensive one hash is."""

    time: int
    memory_kib: int
    parallelism: int = 1

    @property
    def work(self) -> int:
        """What a hash takes, in KiB gone through: its time is proportional to this."""
        return self.time * self.memory_kib

    def beyond(self, other: "Argon2Cost") -> "Argon2Cost | None":
        """Return the cost of what a hash of `other` lacks to be as much work as one of this; None for next to nothing.

        It never takes more memory than one of this.
        """
        missing = self.work - other.work
        if missing < self.work * NEXT_TO_NOTHING:
            return None
        times = ceil(missing / self.memory_kib)
        return Argon2Cost(times, max(missing // times, LEAST_MEMORY_KIB))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password fits, and whether its hash is to be made anew with today's parameters."""

    fits: bool
    outdated: bool = False


class Passwords:
    """A component that hashes and verifies; at most `threads` at once, each with the memory of one hash, and few waiting.

    However many log in at once, memory is bounded by `threads` x the cost's memory; who finds the queue full gets Transient.
    """

    def __init__(self, cost: Argon2Cost, *, threads: int = 2, waiting: int = WAITING_MAX) -> None:
        self._cost = cost
        self._hasher = PasswordHasher(time_cost=cost.time, memory_cost=cost.memory_kib, parallelism=cost.parallelism)
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._dummy = self._hasher.hash(UNKNOWN)
        self._places = threads + waiting

    async def hash(self, password: SecretStr) -> str:
        """Return the encoded hash with its parameters and salt."""
        return await self._run(lambda: self._hasher.hash(password.get_secret_value()))

    async def verify(self, stored: str | None, password: SecretStr) -> Verdict:
        """Compare; without a stored hash (unknown user) the same work is done against a dummy, and never fits.

        A wrong password for a hash of lower cost, made before the cost was raised, takes as much work as well.
        """
        verdict = await self._run(lambda: self._verify(stored or self._dummy, password))
        return verdict if stored is not None else Verdict(fits=False)

    async def start(self) -> None:
        """Do nothing: threads are made on first use."""

    async def stop(self) -> None:
        """End the threads; hashes under way are finished."""
        await asyncio.to_thread(self._executor.shutdown)

    def _verify(self, stored: str, password: SecretStr) -> Verdict:
        try:
            self._hasher.verify(stored, password.get_secret_value())
        except (VerificationError, InvalidHashError):
            self._make_up_for(stored)
            return Verdict(fits=False)
        return Verdict(fits=True, outdated=self._hasher.check_needs_rehash(stored))

    def _make_up_for(self, stored: str) -> None:
        """Do what a check against a hash of today's cost would have done more: the time must not tell who is registered."""
        try:
            made_with = extract_parameters(stored)
        except InvalidHashError:
            return
        missing = self._cost.beyond(Argon2Cost(made_with.time_cost, made_with.memory_cost))
        if missing is not None:
            PasswordHasher(time_cost=missing.time, memory_cost=missing.memory_kib, parallelism=1).hash(UNKNOWN)

    async def _run(self, work: Callable[[], T]) -> T:
        """Do it in a thread. A place is given back when the work ends, also if nobody waits for it any more."""
        if not self._places:
            raise Transient("too many passwords wait to be hashed", retry_after=BUSY_RETRY_SECONDS)
        self._places -= 1
        done = asyncio.get_running_loop().run_in_executor(self._executor, work)
        done.add_done_callback(self._give_back)
        return await asyncio.shield(done)

    def _give_back(self, _: "asyncio.Future[T]") -> None:
        self._places += 1
