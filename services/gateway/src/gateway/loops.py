"""Loops of the gateway: what a crashed upload left is swept away, what RabbitMQ did not confirm is sent again."""

from datetime import timedelta

from common.due_loop import DueLoop, StepResult
from gateway.clients.object_store import ObjectStore
from gateway.clients.unfinished_parts import UnfinishedParts
from gateway.usecases.keep_commands import KeptCommands
from gateway.usecases.store_upload import TEMPORARY_PREFIX

EVERY_S = 3600.0
LEFT_BEHIND_AFTER = timedelta(hours=24)
"""Longer than any upload takes."""
FETCHED_PREFIX = "fetched"
"""Where publishers write the files that they fetch."""
KEPT_EVERY_S = 30.0
"""How often commands are looked for that another gateway kept and did not live to send."""


def kept_commands_loop(kept: KeptCommands) -> DueLoop:
    """Return the loop that sends kept commands until RabbitMQ confirms them."""
    return DueLoop("kept_commands", kept.send, max_sleep=KEPT_EVERY_S)


def stale_uploads_loop(store: ObjectStore, parts: UnfinishedParts | None = None) -> DueLoop:
    """Return the loop that deletes temporary objects a day after they were last written, and in a bucket `parts` as old.

    Those of publishers that were killed while they fetched, too: that a service looks for them once is enough.
    """

    async def step() -> StepResult:
        done = await store.sweep(TEMPORARY_PREFIX, older_than=LEFT_BEHIND_AFTER)
        if parts is not None:
            done += await parts.sweep((TEMPORARY_PREFIX, FETCHED_PREFIX), older_than=LEFT_BEHIND_AFTER)
        return StepResult(done=done)

    return DueLoop("stale_uploads", step, max_sleep=EVERY_S)
