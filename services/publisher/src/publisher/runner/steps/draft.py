"""A draft in the creator's inbox: looked at until its creator has posted it, less and less often, and in the end not any more."""

from contextlib import suppress
from typing import Any

from publisher.domain.drafts import after_draft_look
from publisher.domain.following import Seen
from publisher.domain.outcomes import Succeed
from publisher.runner.conclude import conclude
from publisher.runner.run import JobRun
from publisher.runner.steps.status import StatusUnknown, ask


async def await_creator(run: JobRun) -> None:
    """Look once. What was delivered stays so; only that it was posted is told. Raises LeaseLost."""
    seen: Seen | None = None
    with suppress(StatusUnknown):
        seen = await ask(run)
    looks = run.job.checkpoint.polls + 1
    told: dict[str, Any] = {} if seen is None else {"tiktok_status": seen.status}
    follows = after_draft_look(seen, looks)
    if isinstance(follows, Succeed):
        await conclude(run, follows, told)
        return
    await run.store({"polls": looks, **told}, ended=True, release_in=None if follows is None else follows.seconds)
