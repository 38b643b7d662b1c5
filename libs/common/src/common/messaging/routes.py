"""Routes: which handler takes which message. Handlers run inside the transaction that the edge commits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from common.contracts.envelope import Envelope
from common.contracts.message import Command, Event
from common.database.database import Transaction
from common.messaging.reply import Reply

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command)
P = TypeVar("P")

EventHandler = Callable[[Transaction, E, Envelope], Awaitable[None]]
CommandHandler = Callable[[Transaction, C, Envelope], Awaitable[Reply]]
PreparedHandler = Callable[[Transaction, C, Envelope, P], Awaitable[Reply]]
Preparation = Callable[[C, Envelope], Awaitable[P]]


@dataclass(frozen=True, slots=True)
class EventRoute:
    """An event type and its handler."""

    kind: type[Event]
    handle: Callable[[Transaction, Any, Envelope], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CommandRoute:
    """A command type and its handler, with what is done before the transaction opens (null: nothing)."""

    kind: type[Command]
    handle: Callable[[Transaction, Any, Envelope, Any], Awaitable[Reply]]
    prepare: Callable[[Any, Envelope], Awaitable[Any]] | None = None


def on_event(kind: type[E], handle: EventHandler[E]) -> EventRoute:
    """Route events of `kind` to `handle`."""
    return EventRoute(kind, handle)


def on_command(kind: type[C], handle: CommandHandler[C]) -> CommandRoute:
    """Route commands of `kind` to `handle`."""

    async def without_preparation(tx: Transaction, command: C, envelope: Envelope, _: None) -> Reply:
        return await handle(tx, command, envelope)

    return CommandRoute(kind, without_preparation)


def on_prepared_command(kind: type[C], prepare: Preparation[C, P], handle: PreparedHandler[C, P]) -> CommandRoute:
    """Route commands of `kind`: `prepare` does the slow part (a probe, a call) outside the transaction, `handle` gets its result.

    `prepare` may run more than once for one command, so it must have no effect that a repeat would double.
    """
    return CommandRoute(kind, handle, prepare)
