"""Claim posts whose time has come and hand them to the publisher."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from pydantic import ValidationError

from common.contracts.envelope import Envelope
from common.database.database import Transaction
from common.messaging.outbox import Outbox
from scheduler.storage.claim import ClaimLimits, DuePost, claim_due, fail_claimed
from scheduler.usecases.post_due_event import DEADLINE_PASSED, INTERNAL_ERROR, broken_envelope, broken_fields, due_envelope

MAX_LOOKS = 20
"""How many backlogs one batch is filled up behind."""
SHARES = 4
"""Of what is left of a batch, one user gets a quarter at most."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """How many posts were taken, and the users whose share of the batch was used up."""

    posts: int
    crowded: frozenset[UUID]


async def claim_due_posts(tx: Transaction, outbox: Outbox, limits: ClaimLimits, *, look_past: bool = True) -> Claimed:
    """Mark due posts and write their events, in one transaction: both exist or neither.

    With `look_past`, the batch is filled up from behind the backlogs of users who have used up their share, one backlog after the
    other; the share of what is left shrinks, so that there is a place for whoever comes behind many of them.
    """
    taken = list(await claim_due(tx.driver, limits, DEADLINE_PASSED))
    crowded = newly = _crowded(taken, limits.per_user)
    for _ in range(MAX_LOOKS if look_past else 0):
        room = limits.batch - len(taken)
        if not newly or room <= 0:
            break
        share = min(limits.per_user, max(1, room // SHARES))
        more = await claim_due(tx.driver, replace(limits, batch=room, per_user=share), DEADLINE_PASSED, crowded=crowded)
        newly = _crowded(more, share)
        crowded |= newly
        taken += more
    await outbox.emit_all(tx, await _envelopes(tx, outbox, taken))
    return Claimed(len(taken), crowded)


async def _envelopes(tx: Transaction, outbox: Outbox, taken: Collection[DuePost]) -> Sequence[Envelope]:
    """Return the events of claimed posts; one whose row makes none is failed, so that it stops no other."""
    envelopes: list[Envelope] = []
    broken: list[DuePost] = []
    for post in taken:
        try:
            envelopes.append(due_envelope(outbox, post))
        except ValidationError as error:
            _log.error("claimed_post_makes_no_event", post_id=str(post.id), fields=broken_fields(error))
            broken.append(post)
    if broken:
        await fail_claimed(tx.connection, [post.id for post in broken], INTERNAL_ERROR)
    return [*envelopes, *(broken_envelope(outbox, post) for post in broken)]


def _crowded(taken: Collection[DuePost], share: int) -> frozenset[UUID]:
    places = Counter(post.user_id for post in taken)
    return frozenset(user_id for user_id, took in places.items() if took >= share)
