"""Command handling: the answer is stored with the effect, so that a repeat gets the same answer and has no second effect.

answered        effect, inbox row and reply commit together
repeated        the stored reply again; while the first still runs, the repeat waits for it (unique key)
other body      422 idempotency_key_reused
refused         rolled back; the refusal is kept for the operation, and a repeat is judged anew
dead letter     a failed reply is stored for the operation
"""

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Table, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.contextvars import bound_contextvars

from common.contracts.envelope import Envelope
from common.contracts.message import Command
from common.contracts.registry import parse
from common.database.database import Database, Transaction
from common.errors import Permanent, Problem
from common.messaging.incoming import Incoming
from common.messaging.publisher import MessagePublisher, Outgoing
from common.messaging.reply import Reply
from common.messaging.routes import CommandRoute

CONSUMER = "commands"

_log = structlog.get_logger(__name__)


class CommandHandling:
    """Runs commands of one service, stores their replies and sends them to whoever asked."""

    def __init__(
        self, database: Database, inbox_table: Table, publisher: MessagePublisher, routes: Sequence[CommandRoute]
    ) -> None:
        self._database = database
        self._table = inbox_table
        self._publisher = publisher
        self._routes = {route.kind.KEY: route for route in routes}

    async def handle(self, incoming: Incoming) -> None:
        """Handle one delivery: run it once, then reply; a lost reply is harmless, the stored one stays."""
        envelope = incoming.envelope()
        route = self._routes.get(envelope.key)
        if route is None:
            raise Permanent(f"unknown command {envelope.key}")
        command = parse(envelope, route.kind)
        with bound_contextvars(correlation_id=envelope.correlationid, message_id=str(envelope.id)):
            reply = await self._answer(route, command, envelope)
            await self._send(incoming, reply)

    async def on_dead(self, incoming: Incoming) -> None:
        """Store and send a failed reply for a command that became a dead letter."""
        envelope = incoming.envelope()
        failed = Problem(500, "command_failed", "The command could not be carried out.", hint="An operator can replay it.")
        reply = Reply.of_problem(failed)
        await self._store_refusal(envelope, reply)
        await self._send(incoming, reply)

    async def _answer(self, route: CommandRoute, command: Command, envelope: Envelope) -> Reply:
        try:
            stored = await self._stored(envelope)
            if stored is not None:
                return stored
            prepared = await route.prepare(command, envelope) if route.prepare is not None else None
            async with self._database.transaction() as tx:
                stored = await self._claim(tx, envelope)
                if stored is not None:
                    return stored
                reply = await route.handle(tx, command, envelope, prepared)
                await self._keep(tx, envelope, reply)
                return reply
        except Problem as problem:
            reply = Reply.of_problem(problem)
            if problem.code != "idempotency_key_reused":
                await self._store_refusal(envelope, reply)
            return reply

    async def _stored(self, envelope: Envelope) -> Reply | None:
        """Return the replayable reply of an earlier run, before anything slow is prepared again."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(self._table).where(self._key(envelope)))).one_or_none()
        if row is None or not row.replayable or row.reply is None:
            return None
        _require_same_request(row.request_hash, envelope)
        return Reply.model_validate(row.reply)

    async def _claim(self, tx: Transaction, envelope: Envelope) -> Reply | None:
        """Take the command for this transaction, or return the reply of the run that had it first."""
        values = insert(self._table).values(
            consumer=CONSUMER,
            message_id=envelope.id,
            user_id=envelope.userid,
            request_hash=envelope.requesthash,
        )
        claim = values.on_conflict_do_nothing().returning(self._table.c.message_id)
        if await tx.connection.scalar(claim) is not None:
            return None
        row = (await tx.connection.execute(select(self._table).where(self._key(envelope)).with_for_update())).one()
        if not row.replayable:
            return None
        _require_same_request(row.request_hash, envelope)
        return Reply.model_validate(row.reply)

    async def _keep(self, tx: Transaction, envelope: Envelope, reply: Reply) -> None:
        kept = update(self._table).where(self._key(envelope))
        await tx.connection.execute(
            kept.values(
                reply=reply.model_dump(mode="json"),
                replayable=True,
                request_hash=envelope.requesthash,
                # The row of a refusal may be days old; the answer that takes its place is kept as long as any.
                received_at=func.now(),
            )
        )

    async def _store_refusal(self, envelope: Envelope, reply: Reply) -> None:
        """Keep a refusal for the operation, never over the reply of a run that succeeded."""
        table = self._table
        statement = insert(table).values(
            consumer=CONSUMER,
            message_id=envelope.id,
            user_id=envelope.userid,
            request_hash=envelope.requesthash,
            reply=reply.model_dump(mode="json"),
            replayable=False,
        )
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.consumer, table.c.message_id],
            set_={
                "reply": statement.excluded.reply,
                "request_hash": statement.excluded.request_hash,
                "received_at": func.now(),
            },
            where=table.c.replayable.is_(False),
        )
        async with self._database.transaction() as tx:
            await tx.connection.execute(statement)

    async def _send(self, incoming: Incoming, reply: Reply) -> None:
        """Send the reply to the asker's queue; when that is gone nobody waits, and the stored reply answers the operation."""
        if not incoming.reply_to:
            return
        message = Outgoing(
            body=reply.model_dump_json().encode(),
            routing_key=incoming.reply_to,
            correlation_id=incoming.correlation_id,
            persistent=False,
        )
        try:
            await self._publisher.publish(message)
        except Exception as error:  # noqa: BLE001 - the command has run; its stored reply answers the operation
            _log.warning("reply_not_sent", reason=type(error).__name__)

    def _key(self, envelope: Envelope) -> ColumnElement[bool]:
        return and_(self._table.c.consumer == CONSUMER, self._table.c.message_id == envelope.id)


def _require_same_request(stored_hash: str | None, envelope: Envelope) -> None:
    if stored_hash != envelope.requesthash:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was used with another request.",
            hint="Send a new key for a new request.",
        )


async def stored_reply(connection: AsyncConnection, table: Table, command_id: UUID, user_id: UUID) -> Reply | None:
    """Return the stored reply of a user's command, None while there is none (or it is another user's)."""
    statement = select(table.c.reply).where(
        table.c.consumer == CONSUMER, table.c.message_id == command_id, table.c.user_id == user_id
    )
    reply = await connection.scalar(statement)
    return None if reply is None else Reply.model_validate(reply)
