"""SQL of commands and their answers in the inbox table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.envelope import Envelope
from common.database.database import Driver
from common.errors import Problem
from common.messaging.reply import Reply

CONSUMER = "commands"
FAILED = "command_failed"
"""The code of the answer to what could not be carried out: nobody has judged it."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A command that came before: the hash of its request, and its answer unless it is still running."""

    request_hash: str | None
    reply: Any
    replayable: bool

    def answers(self, envelope: Envelope, *, is_ours: bool) -> bool:
        """Whether it is the answer to what came now: that of a run that succeeded is.

        A refusal is so only for what we send again by ourselves, and was sent first no later than what was refused: its client was
        told that nothing has happened. A client may try again with the same id, and is judged anew, however that repeat comes.
        """
        if self.replayable:
            return True
        return is_ours and self.request_hash == envelope.requesthash and self._judged_until >= envelope.time.timestamp()

    @property
    def _judged_until(self) -> float:
        """When the refused command was sent first, 0 while none was judged (or by a version that did not keep the time)."""
        body, time = self.reply["body"], self.reply.get("time")
        has_failed = body is not None and body.get("code") == FAILED
        return 0.0 if has_failed or time is None else datetime.fromisoformat(time).timestamp()

    def answer(self, envelope: Envelope) -> Reply:
        """Return the answer again; raises Problem 422 `idempotency_key_reused` when the request was another one."""
        if self.request_hash != envelope.requesthash:
            raise Problem(
                422,
                "idempotency_key_reused",
                "This Idempotency-Key was used with another request.",
                hint="Send a new key for a new request.",
            )
        return Reply.model_validate(self.reply)


class ReplyRows:
    """The statements for one service's table."""

    def __init__(self, table: Table) -> None:
        name = table.name
        self._find = f"""
            SELECT request_hash, reply, replayable FROM {name} WHERE consumer = '{CONSUMER}' AND message_id = $1
        """  # noqa: S608 - names of our own
        self._claim = f"""
            INSERT INTO {name} (consumer, message_id, user_id, request_hash) VALUES ('{CONSUMER}', $1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING true
        """  # noqa: S608 - as above
        # The row of a refusal may be days old; the answer that takes its place is kept as long as any.
        self._keep = f"""
            UPDATE {name}
            SET reply = $2::jsonb || jsonb_build_object('time', $5::text), replayable = $4, request_hash = $3, received_at = now()
            WHERE consumer = '{CONSUMER}' AND message_id = $1
        """  # noqa: S608 - as above
        self._keep_refusal = f"""
            INSERT INTO {name} AS kept (consumer, message_id, user_id, request_hash, reply, replayable)
            VALUES ('{CONSUMER}', $1, $2, $3, $4::jsonb || jsonb_build_object('time', $5::text), false)
            ON CONFLICT (consumer, message_id) DO UPDATE
            SET reply = excluded.reply, request_hash = excluded.request_hash, received_at = now()
            WHERE NOT kept.replayable
            RETURNING true
        """  # noqa: S608 - as above

    async def find(self, driver: Driver, envelope: Envelope) -> StoredReply | None:
        """Return what is stored of a command."""
        row = await driver.fetchrow(self._find, envelope.id)
        return None if row is None else StoredReply(*row)

    async def claim(self, driver: Driver, envelope: Envelope) -> StoredReply | None:
        """Take the command for this transaction, or return what the run that had it first has stored; waits while that runs."""
        if await driver.fetchval(self._claim, envelope.id, envelope.userid, envelope.requesthash):
            return None
        row = await driver.fetchrow(f"{self._find} FOR UPDATE", envelope.id)
        return StoredReply(*row)

    async def keep(self, driver: Driver, envelope: Envelope, reply: Reply) -> None:
        """Store the answer of the run that this transaction is."""
        values = (envelope.id, reply.model_dump_json(), envelope.requesthash, reply.replayable, envelope.time.isoformat())
        await driver.execute(self._keep, *values)

    async def keep_refusal(self, driver: Driver, envelope: Envelope, reply: Reply) -> StoredReply | None:
        """Keep a refusal for the operation, or return the reply of a run that succeeded, which stays."""
        answer, time = reply.model_dump_json(), envelope.time.isoformat()
        values = (envelope.id, envelope.userid, envelope.requesthash, answer, time)
        return None if await driver.fetchval(self._keep_refusal, *values) else await self.find(driver, envelope)


async def stored_reply(connection: AsyncConnection, table: Table, command_id: UUID, user_id: UUID) -> Reply | None:
    """Return the stored reply of a user's command, None while there is none (or it is another user's)."""
    statement = select(table.c.reply).where(
        table.c.consumer == CONSUMER, table.c.message_id == command_id, table.c.user_id == user_id
    )
    reply = await connection.scalar(statement)
    return None if reply is None else Reply.model_validate(reply)
