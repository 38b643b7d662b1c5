"""Telling of what was refused to somebody who is not known for sure: now and then, however often it happens."""

from datetime import timedelta

from accounts.domain.throttle import counted_address
from accounts.security.opaque import digest
from accounts.storage.throttles import count_refusal
from common.contracts.context import Context
from common.database import Transaction

TOLD_EVERY = timedelta(minutes=1)
"""For each address and kind: so often an event is emitted at most, whatever an attacker sends."""


async def refusals_to_tell(tx: Transaction, context: Context, kind: str, subject: str = "") -> int:
    """Count a refusal to the client's address; returns how many there are to tell of now, 0 for none.

    An IPv6 address counts with its whole /64, and each `subject` by itself. Neither is stored in the clear.
    """
    address = counted_address(context.client_ip) if context.client_ip else ""
    return await count_refusal(tx.connection, digest(f"refused:{kind}:{subject}:{address}"), told_every=TOLD_EVERY)
