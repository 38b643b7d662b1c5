"""Every event and command by its routing key."""

from typing import TypeVar

from pydantic import ValidationError

from common.contracts import accounts, analytics, gateway, operations, publisher, scheduler
from common.contracts.envelope import Envelope
from common.contracts.message import Command, Event, Message
from common.errors import Permanent

M = TypeVar("M", bound=Message)


def _by_key(base: type[M]) -> dict[str, type[M]]:
    found: dict[str, type[M]] = {}
    for module in (accounts, analytics, gateway, operations, publisher, scheduler):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.KEY:
                found[value.KEY] = value
    return found


EVENTS: dict[str, type[Event]] = _by_key(Event)
COMMANDS: dict[str, type[Command]] = _by_key(Command)


def parse(envelope: Envelope, kind: type[M]) -> M:
    """Return the envelope's `data` as `kind`.

    Raises `Permanent` when the data do not fit: no redelivery would help. The reason names fields, never values.
    """
    try:
        return kind.model_validate(envelope.data)
    except ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors(include_input=False))
        raise Permanent(f"data of {envelope.key} is invalid: {fields}") from None
