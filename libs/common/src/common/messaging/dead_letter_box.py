"""Dead letters for operators: count, show, replay, drop. Nothing is lost when this is interrupted at any point.

A dead letter is looked at by rotating its queue: a copy is published and confirmed before the original is acknowledged. Handing it
back instead would raise its delivery count, and RabbitMQ 4 drops what was delivered too often. An interruption leaves one
message twice at worst, which consumers recognise by the envelope's id.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from pydantic import SecretStr, ValidationError

from common.contracts.envelope import Envelope
from common.messaging.connection import CONNECT_TIMEOUT_S, user_of
from common.messaging.incoming import ATTEMPT_HEADER
from common.messaging.operator_action import tell
from common.messaging.publisher import CONFIRM_TIMEOUT_S
from common.messaging.topology import dead_letter_name

LIMIT = 1_000
"""How many messages are shown at once, and told of in one event."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be handled, with why. `envelope` is None when the body is none."""

    reason: str
    error: str
    attempts: int
    died_at: str
    envelope: Envelope | None
    body: bytes

    @property
    def id(self) -> str:
        """What chooses this message: the envelope's id, of a body that is none the beginning of its sha256."""
        return str(self.envelope.id) if self.envelope is not None else f"sha256:{sha256(self.body).hexdigest()[:16]}"


Wanted = Callable[[DeadLetter], bool]
Instead = Callable[[AbstractIncomingMessage], Awaitable[None]]


class DeadLetterBox:
    """The dead-letter queues of one broker, over a connection of its own with an operator's rights."""

    def __init__(self, channel: AbstractChannel, *, user: str, operator: str) -> None:
        self._channel = channel
        self._user = user
        self._operator = operator

    async def count(self, queue: str) -> int:
        """Return how many dead letters a work queue has; 0 when it was never declared."""
        try:
            declared = await self._channel.declare_queue(dead_letter_name(queue), passive=True, timeout=CONFIRM_TIMEOUT_S)
        except ChannelNotFoundEntity:
            await self._channel.reopen()
            return 0
        return int(declared.declaration_result.message_count or 0)

    async def show(self, queue: str) -> list[DeadLetter]:
        """Return up to `LIMIT` dead letters of a work queue, oldest first; they stay. Another call returns the next ones."""
        return await self._go_round(queue, lambda _: True, most=LIMIT)

    async def replay(self, queue: str, wanted: Wanted) -> list[DeadLetter]:
        """Put the wanted dead letters back into their work queue with a fresh count of attempts; returns them."""

        async def send_back(message: AbstractIncomingMessage) -> None:
            await self._publish(message, queue, attempts=0)

        return await self._do("replayed", queue, wanted, send_back)

    async def drop(self, queue: str, wanted: Wanted) -> list[DeadLetter]:
        """Remove the wanted dead letters for good; returns them."""

        async def forget(_: AbstractIncomingMessage) -> None:
            """Leave it to be acknowledged."""

        return await self._do("dropped", queue, wanted, forget)

    async def _do(self, action: str, queue: str, wanted: Wanted, instead: Instead) -> list[DeadLetter]:
        """Go round once to see which are wanted, tell of them, then go round once more and do it with those.

        Told first: an interruption then leaves a record of more than was done, never something done without a record.
        """
        told: list[str] = []

        def note(letter: DeadLetter) -> bool:
            if wanted(letter):
                told.append(letter.id)
            return False

        await self._go_round(queue, note)
        for first in range(0, len(told), LIMIT):
            await self._tell(action, queue, told[first : first + LIMIT])
        ids = frozenset(told)
        return await self._go_round(queue, lambda letter: letter.id in ids, instead=instead) if ids else []

    async def _go_round(
        self, queue: str, wanted: Wanted, *, most: int | None = None, instead: Instead | None = None
    ) -> list[DeadLetter]:
        """Take each dead letter there is now, or the first `most`, and return the wanted ones.

        All go to the back of the queue, which keeps their order; but with the wanted ones `instead` is done, if there is one.
        """
        dead = dead_letter_name(queue)
        met: list[DeadLetter] = []
        there = await self.count(queue)
        for _ in range(there if most is None else min(there, most)):
            declared = await self._channel.get_queue(dead, ensure=False)
            message = await declared.get(fail=False, timeout=CONFIRM_TIMEOUT_S)
            if message is None:
                break
            letter = _letter(message)
            is_wanted = wanted(letter)
            if is_wanted:
                met.append(letter)
            if is_wanted and instead is not None:
                await instead(message)
            else:
                await self._publish(message, dead, attempts=letter.attempts)
            await message.ack()
        return met

    async def _publish(self, message: AbstractIncomingMessage, queue: str, *, attempts: int) -> None:
        headers = {name: value for name, value in message.headers.items() if name.startswith("x-cuepost-")}
        copy = aio_pika.Message(
            message.body,
            content_type=message.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            type=message.type,
            timestamp=message.timestamp,
            user_id=self._user,
            headers={**headers, ATTEMPT_HEADER: attempts} if attempts else None,
        )
        await self._channel.default_exchange.publish(copy, routing_key=queue, mandatory=True, timeout=CONFIRM_TIMEOUT_S)

    async def _tell(self, action: str, queue: str, ids: list[str]) -> None:
        """Tell the audit trail what an operator is about to do with the letters of these ids."""
        details = {"queue": queue, "count": len(ids), "ids": ids}
        await tell(self._channel, f"dead_letters_{action}", queue, details, operator=self._operator)


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    try:
        envelope = Envelope.model_validate_json(message.body)
    except ValidationError:
        envelope = None
    headers = message.headers
    attempts = headers.get(ATTEMPT_HEADER, 0)
    return DeadLetter(
        # What RabbitMQ itself dead-lettered (delivered too often) carries no header of ours.
        reason=str(headers.get("x-cuepost-reason", "delivered too often: its consumer died again and again")),
        error=str(headers.get("x-cuepost-error", "DeliveryLimit")),
        attempts=attempts if isinstance(attempts, int) else 0,
        died_at=str(headers.get("x-cuepost-died-at", "")),
        envelope=envelope,
        body=message.body,
    )


@asynccontextmanager
async def dead_letter_box(url: SecretStr, *, operator: str) -> AsyncIterator[DeadLetterBox]:
    """Open a connection with an operator's rights."""
    connection = await aio_pika.connect(url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield DeadLetterBox(channel, user=user_of(url), operator=operator)
