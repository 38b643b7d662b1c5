"""Hearing what TikTok's webhooks claim of a publication: kept, and a reason to look at once."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from common.database import Transaction
from publisher.domain.claims import EVIDENCE, asks_for_look
from publisher.storage import claims, looks
from tiktok.publish_webhooks import PublishClaim

_log = structlog.get_logger(__name__)


async def hear_claim(
    tx: Transaction, claim: PublishClaim, open_id: str, at: datetime, *, wakes: Sequence[Callable[[], None]]
) -> int:
    """Keep the claim and make the attempts due that it may settle; returns how many. `wakes` run after the commit.

    It decides nothing: the look asks TikTok. Order and repeats do not matter. A claim of a publication that is not known here
    (yet) is kept for the attempt that may turn out to have made it; one about another creator's concerns nobody.
    """
    came_about_at = await claims.keep(tx.connection, claim, open_id, at)
    known = await claims.jobs_of(tx.connection, claim.publish_id, open_id)
    wanted = [job.id for job in known if asks_for_look(claim.claim, job.state, job.outcome, is_identified=job.is_identified)]
    if not known and claim.claim in EVIDENCE:
        wanted = list(await claims.nameless_jobs(tx.connection, open_id, came_about_at))
    if not wanted:
        _log.info("claim_changes_nothing", claim=claim.claim, publish_id=claim.publish_id, known=len(known))
        return 0
    await looks.look_at(tx.connection, wanted)
    for wake in wakes:
        tx.after_commit(wake)
    return len(wanted)
