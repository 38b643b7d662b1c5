"""Whose command it is."""

from uuid import UUID

from common.contracts.envelope import Envelope
from common.errors import Permanent


def owner(envelope: Envelope) -> UUID:
    """Return the user of a command; raises Permanent when it names none: only the gateway writes commands, and always does."""
    if envelope.userid is None:
        raise Permanent("the command names no user")
    return envelope.userid
