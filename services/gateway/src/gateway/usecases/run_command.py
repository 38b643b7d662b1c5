"""Run a command at another service: send it, wait for the reply, or hand out an operation to ask for later."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.clock import utc_now
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.message import Command
from common.errors import Problem
from common.messaging.command_client import CommandAccepted, CommandClient, CommandUnavailable
from common.messaging.reply import Reply
from gateway.domain.operation_id import Operation, Scope, Service, encode_operation
from gateway.usecases.keep_commands import KeptCommands

SOURCE = "gateway"


@dataclass(frozen=True, slots=True)
class CommandIdentity:
    """Which command it is: its id, and the hash of the request it stands for; `is_keyed` when the client's key gave the id."""

    id: UUID
    request_hash: str
    is_keyed: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command will run; the operation tells its answer."""

    operation_id: str


class Commands:
    """Sends commands in the name of a user."""

    def __init__(
        self,
        client: CommandClient,
        kept: KeptCommands,
        *,
        operation_key: bytes,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._kept = kept
        self._operation_key = operation_key
        self._clock = clock

    async def run(
        self,
        command: Command,
        *,
        user_id: UUID,
        scope: Scope,
        identity: CommandIdentity,
        context: Context,
        subject: str | None = None,
    ) -> Reply | Accepted:
        """Return the service's reply, or `Accepted` when it did not come in time; without RabbitMQ's confirm it is kept first.

        `subject` is the id of the object the command is about (without one: the command's), `scope` the right that the
        caller needed, and needs to ask for the answer later. Raises `Problem` 503 when nothing
        was accepted, so that sending again is safe.
        """
        time = self._clock()
        envelope = wrap(
            command,
            service=SOURCE,
            subject=subject or str(identity.id),
            context=context,
            envelope_id=identity.id,
            time=time,
            request_hash=identity.request_hash,
        )
        try:
            return await self._client.call(envelope)
        except CommandAccepted as accepted:
            if not accepted.is_confirmed:
                await self._kept.keep(envelope)
            # Repeats with one key are one command, and so one operation, whenever they came.
            operation = Operation(_service_of(command), user_id, identity.id, None if identity.is_keyed else time, scope)
            return Accepted(encode_operation(operation, self._operation_key))
        except CommandUnavailable:
            raise Problem(
                503,
                "service_unavailable",
                "The request was not accepted: a part of the system is not available at the moment.",
                hint="Nothing has happened; send it again in a few seconds.",
                headers={"Retry-After": "2"},
            ) from None


def _service_of(command: Command) -> Service:
    return "accounts" if command.KEY.startswith("accounts.") else "scheduler"
