"""An answer that says that something was revoked is given when the broker knows it as well (decision 58)."""

from uuid import UUID

import structlog

from accounts.parts import Parts
from common.contracts.accounts import ApiKeyRevoked, SessionRevoked

_log = structlog.get_logger(__name__)


async def revocations_told(parts: Parts, event_id: UUID | None) -> None:
    """Return once the broker has confirmed the event that tells of a revocation, or `REVOCATION_PATIENCE_SECONDS` later.

    Without an id, because it had happened before, the event is any: waited for are all revocations that were committed by now.

    Whoever gets no answer because this process died may hold a revocation of which no gateway has heard; whoever gets one does not:
    in a second without the broker's word gateways, which read what was revoked twice a second, have learned of it. Where the
    database does not answer they can read nothing either: its error, or TimeoutError, becomes a 503, and the client repeats.
    """
    patience = parts.settings.revocation_patience_seconds
    if not await parts.relay.wait_until_sent((SessionRevoked.KEY, ApiKeyRevoked.KEY), patience=patience, only=event_id):
        _log.warning("revocation_not_sent_yet", waited_s=patience)
