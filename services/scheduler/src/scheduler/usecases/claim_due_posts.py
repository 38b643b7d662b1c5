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
from scheduler.storage.claim import ClaimLimits, DuePost, claim_due, claim_due_of, fail_claimed
from scheduler.storage.users_in_line import FIRST, users_in_line
from scheduler.usecases.post_due_event import DEADLINE_PASSED, INTERNAL_ERROR, broken_envelope, broken_fields, due_envelope

MAX_WALK = 5_000
"""How many users with waiting posts a look at others goes past: a few milliseconds each thousand."""
WALK_PER_POST = 10
"""A small batch goes past fewer: so many users for each of its posts."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """How many posts were taken; where others were looked for, the user after whom to look the next time."""

    posts: int
    turn: UUID | None = None


async def claim_due_posts(tx: Transaction, outbox: Outbox, limits: ClaimLimits, *, turn: UUID | None = FIRST) -> Claimed:
    """Mark due posts and write their events, in one transaction: both exist or neither.

    The earliest of all come first. With a `turn`, half of the batch is kept from them: when they fill the other half, or one user
    has used up its share, the rest is for users who got nothing by that, in equal shares, one user after the other from `turn` on.
    So whoever has a due post gets a place within one round, however many posts of however many others come before it.
    """
    ahead = limits.batch if turn is None else limits.batch - limits.batch // 2
    taken = list(await claim_due(tx.driver, replace(limits, batch=ahead), DEADLINE_PASSED))
    places = Counter(post.user_id for post in taken)
    is_crowded = len(taken) >= ahead or any(took >= limits.per_user for took in places.values())
    turn = turn if is_crowded else None
    if turn is not None:
        more, turn = await _of_others(tx, limits, turn, taken=len(taken), served=places.keys())
        taken += more
    await outbox.emit_all(tx, await _envelopes(tx, outbox, taken))
    return Claimed(len(taken), turn)


async def _of_others(
    tx: Transaction, limits: ClaimLimits, turn: UUID, *, taken: int, served: Collection[UUID]
) -> tuple[Sequence[DuePost], UUID]:
    """Fill the batch up with posts of users who are not `served` yet; returns also where the next look begins."""
    # With a batch of one it is one post more.
    room = max(1, limits.batch - taken)
    line = await users_in_line(tx.driver, turn, but=served, limit=room, walk=walk_of(limits.batch))
    if not line.users:
        return [], line.turn
    share = min(limits.per_user, max(1, room // len(line.users)))
    others = replace(limits, batch=room, per_user=share)
    return await claim_due_of(tx.driver, others, DEADLINE_PASSED, line.users), line.turn


def walk_of(batch: int) -> int:
    """Return how many users a claim of such a batch goes past at most when it looks for others."""
    return min(MAX_WALK, WALK_PER_POST * batch)


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
