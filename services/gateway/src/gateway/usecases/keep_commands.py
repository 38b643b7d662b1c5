"""Commands whose confirm did not come are kept in the object storage until RabbitMQ has them, whichever gateway lives that long.

Without a confirm nobody knows whether RabbitMQ has a command, and its client was told that it will run. This gateway sends it again
as long as it lives; what is kept is for the one that comes after it. A command sent twice has one effect: its id is the same.
"""

import asyncio
from datetime import timedelta

import structlog
from pydantic import ValidationError

from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.due_loop import StepResult
from common.errors import Problem
from common.messaging.command_client import CommandClient, CommandUnavailable
from gateway.clients.object_store import ObjectStore
from gateway.domain.kept_command import seal, unseal

PREFIX = "commands"
KEEP_TIMEOUT_S = 2.0
BATCH = 100
AGAIN_S = 2.0
"""Between two looks while something could not be sent."""

_log = structlog.get_logger(__name__)


class KeptCommands:
    """Any number of gateways on one storage may send what any of them kept.

    After `max_age` a command is not sent any more: it must be less than the time for which services remember what they have run.
    """

    def __init__(self, store: ObjectStore, client: CommandClient, *, key: bytes, max_age: timedelta) -> None:
        self._store = store
        self._client = client
        self._key = key
        self._max_age = max_age
        self._after = ""
        self._waits = False

    async def keep(self, envelope: Envelope) -> None:
        """Keep a command; a storage that is away too costs this guarantee, not the answer."""
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_S):
                await self._store.put(_key_of(envelope), seal(envelope.to_bytes(), self._key))
        except (Problem, TimeoutError) as error:
            _log.error("command_not_kept", command=str(envelope.id), reason=type(error).__name__)
        else:
            _log.warning("command_kept", command=str(envelope.id), key=envelope.key)

    async def send(self) -> StepResult:
        """Send the next `BATCH` of what is kept and forget what RabbitMQ has confirmed.

        It goes on behind the name looked at last, and after the last one begins anew: commands that have to wait (the queue of one
        service is missing) hold up none of the others.
        """
        keys = await self._store.keys(PREFIX, limit=BATCH, after=self._after)
        done = 0
        for key in keys:
            self._after = key
            try:
                await self._send(key)
            except CommandUnavailable as error:
                _log.info("kept_command_waits", object=key, reason=str(error))
                continue
            done += 1
        is_end = len(keys) < BATCH
        waits = self._waits or done < len(keys)
        self._waits = waits and not is_end
        if is_end:
            self._after = ""
        return StepResult(done=done, more=done == BATCH, next_in=AGAIN_S if waits else None)

    async def _send(self, key: str) -> None:
        """Send one and forget it; raises `CommandUnavailable` while it has to wait."""
        sealed = await self._store.get(key)
        if sealed is None:
            return
        envelope = self._opened(sealed)
        if envelope is None:
            _log.error("kept_command_unreadable", object=key)
        elif envelope.time < utc_now() - self._max_age:
            _log.error("kept_command_too_old", command=str(envelope.id), key=envelope.key)
        else:
            await self._client.send_again(envelope)
            _log.info("kept_command_sent", command=str(envelope.id), key=envelope.key)
        await self._store.delete(key)

    def _opened(self, sealed: bytes) -> Envelope | None:
        body = unseal(sealed, self._key)
        try:
            return None if body is None else Envelope.model_validate_json(body)
        except ValidationError:
            return None


def _key_of(envelope: Envelope) -> str:
    """Return where a command is kept; one id with another body (a reused key) lies beside it."""
    return f"{PREFIX}/{envelope.id}-{(envelope.requesthash or '')[:16]}"
