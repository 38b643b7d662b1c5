"""Command handling: the answer is stored with the effect, so that a repeat gets the same answer and has no second effect.

answered        effect, inbox row and reply commit together
repeated        the stored reply again; while the first still runs, the repeat waits for it (unique key)
other body      422 idempotency_key_reused
refused         rolled back; the refusal is kept for the operation, and a client's repeat is judged anew
nothing done    an answer that is not replayable is kept for the operation, and a client's repeat is judged anew
sent by us      a redelivery, or a copy nobody waits for: what was told stays true, a refusal too unless it is of an earlier request
dead letter     a failed reply is stored for the operation, and what an operator replays is judged anew
"""

from collections.abc import Sequence

from sqlalchemy import Table

from common.contracts.envelope import Envelope
from common.contracts.message import Command
from common.contracts.registry import parse
from common.database.database import Database
from common.errors import Permanent, Problem
from common.messaging.incoming import Incoming, work_for
from common.messaging.publisher import MessagePublisher
from common.messaging.reply import Reply
from common.messaging.reply_rows import FAILED, ReplyRows
from common.messaging.reply_sending import send_reply
from common.messaging.routes import CommandRoute

FRESH_ID_VERSION = 7


class CommandHandling:
    """Runs commands of one service, stores their replies and sends them to whoever asked."""

    def __init__(
        self, database: Database, inbox_table: Table, publisher: MessagePublisher, routes: Sequence[CommandRoute]
    ) -> None:
        self._database = database
        self._rows = ReplyRows(inbox_table)
        self._publisher = publisher
        self._routes = {route.kind.KEY: route for route in routes}

    async def handle(self, incoming: Incoming) -> None:
        """Handle one delivery: run it once, then reply; a lost reply is harmless, the stored one stays."""
        envelope = incoming.envelope()
        route = self._routes.get(envelope.key)
        if route is None:
            raise Permanent(f"unknown command {envelope.key}")
        command = parse(envelope, route.kind)
        with work_for(envelope):
            reply = await self._answer(route, command, envelope, is_ours=_is_ours(incoming))
            await send_reply(self._publisher, incoming, reply)

    async def on_dead(self, incoming: Incoming) -> None:
        """Store and send a failed reply for a command that became a dead letter."""
        envelope = incoming.envelope()
        failed = Problem(500, FAILED, "The command could not be carried out.", hint="An operator can replay it.")
        await send_reply(self._publisher, incoming, await self._refuse(envelope, failed))

    async def _answer(self, route: CommandRoute, command: Command, envelope: Envelope, *, is_ours: bool) -> Reply:
        try:
            if is_ours or envelope.id.version != FRESH_ID_VERSION:
                # Before anything slow is prepared again. An id made for one command alone has hardly run before its first delivery;
                # one that has all the same is noticed when it is claimed.
                async with self._database.read_fast() as driver:
                    stored = await self._rows.find(driver, envelope)
                if stored is not None and stored.answers(envelope, is_ours=is_ours):
                    return stored.answer(envelope)
            prepared = await route.prepare(command, envelope) if route.prepare is not None else None
            async with self._database.transaction() as tx:
                stored = await self._rows.claim(tx.driver, envelope)
                if stored is not None and stored.answers(envelope, is_ours=is_ours):
                    return stored.answer(envelope)
                reply = await route.handle(tx, command, envelope, prepared)
                await self._rows.keep(tx.driver, envelope, reply)
                return reply
        except Problem as problem:
            if problem.code == "idempotency_key_reused":
                return Reply.of_problem(problem)
            return await self._refuse(envelope, problem)

    async def _refuse(self, envelope: Envelope, problem: Problem) -> Reply:
        """Store the refusal and return it; or what a copy of the command was answered that ran beside and succeeded."""
        reply = Reply.of_problem(problem)
        async with self._database.transaction() as tx:
            done = await self._rows.keep_refusal(tx.driver, envelope, reply)
        return reply if done is None or done.request_hash != envelope.requesthash else done.answer(envelope)


def _is_ours(incoming: Incoming) -> bool:
    """Tell whether we send it by ourselves, no client: it was handed out before, or nobody waits for its answer.

    The latter are copies of commands whose confirm did not come, and what an operator replays. Which of a client's repeats it is,
    its time tells; what a client sends now is judged whatever the clock of its gateway says.
    """
    return incoming.attempt > 0 or incoming.returned > 0 or not incoming.reply_to
