"""A draft that lies in a creator's inbox: how long and how often TikTok is asked whether the creator has posted it."""

from publisher.domain.following import Seen, verdict
from publisher.domain.outcomes import Fail, Look, Succeed

DAY_SECONDS = 86_400.0
DRAFT_SECONDS = (
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0),
    *((DAY_SECONDS,) * 6),
)
"""A week in all; after it only a webhook tells."""


def draft_wait(looks: int) -> float | None:
    """Return the seconds before the next look after `looks` looks; None when there is no next one."""
    return DRAFT_SECONDS[looks] if looks < len(DRAFT_SECONDS) else None


def after_draft_look(seen: Seen | None, looks: int) -> Succeed | Look | None:
    """Return what follows the look number `looks` (from 1) at a delivered draft; `seen` is None when TikTok did not tell.

    Published, when TikTok says so; else another look, or None for no more. That it was delivered stays true whatever TikTok says
    later: a failure after the delivery only ends the looking.
    """
    end = None if seen is None else verdict(seen)
    if isinstance(end, Succeed) and end.outcome == "published":
        return end
    wait = draft_wait(looks)
    return None if wait is None or isinstance(end, Fail) else Look(wait)
