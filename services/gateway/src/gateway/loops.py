"""Loops of the gateway: what a crashed upload left is swept away, what RabbitMQ did not confirm is sent again."""

from datetime import timedelta

from common.due_loop import DueLoop, StepResult
from gateway.clients.object_store import ObjectStore
from gateway.usecases.keep_commands import KeptCommands
from gateway.usecases.store_upload import TEMPORARY_PREFIX

EVERY_S = 3600.0
LEFT_BEHIND_AFTER = timedelta(hours=24)
"""Longer than any upload takes."""


KEPT_EVERY_S = 30.0
"""How often commands are looked for that another gateway kept and did not live to send."""


def kept_commands_loop(kept: KeptCommands) -> DueLoop:
    """Return the loop that sends kept commands until RabbitMQ confirms them."""
    return DueLoop("kept_commands", kept.send, max_sleep=KEPT_EVERY_S)


def stale_uploads_loop(store: ObjectStore) -> DueLoop:
    """Return the loop that deletes temporary objects a day after they were last written."""

    async def step() -> StepResult:
        return StepResult(done=await store.sweep(TEMPORARY_PREFIX, older_than=LEFT_BEHIND_AFTER))

    return DueLoop("stale_uploads", step, max_sleep=EVERY_S)
