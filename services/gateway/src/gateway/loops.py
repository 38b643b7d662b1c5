"""Loops of the gateway: what a crashed upload left is swept away."""

from datetime import timedelta

from common.due_loop import DueLoop, StepResult
from gateway.clients.object_store import ObjectStore
from gateway.usecases.store_upload import TEMPORARY_PREFIX

EVERY_S = 3600.0
LEFT_BEHIND_AFTER = timedelta(hours=24)
"""Longer than any upload takes."""


def stale_uploads_loop(store: ObjectStore) -> DueLoop:
    """Return the loop that deletes temporary objects a day after they were last written."""

    async def step() -> StepResult:
        return StepResult(done=await store.sweep(TEMPORARY_PREFIX, older_than=LEFT_BEHIND_AFTER))

    return DueLoop("stale_uploads", step, max_sleep=EVERY_S)
