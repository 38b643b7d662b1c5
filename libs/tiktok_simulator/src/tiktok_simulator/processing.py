"""What happens after the last byte: checks, the wait, the verdict, and the post id's appearance."""

import asyncio
from collections.abc import Coroutine

import structlog

from tiktok_simulator.clock import now
from tiktok_simulator.faults import PROCESSING, Faults
from tiktok_simulator.grants import Grants
from tiktok_simulator.ledger import Ledger, Publication
from tiktok_simulator.personas import Creators
from tiktok_simulator.probe import MAX_SECONDS, check_video
from tiktok_simulator.settings import Settings
from tiktok_simulator.upload_store import UploadStore
from tiktok_simulator.webhooks import WebhookSender

log = structlog.get_logger(__name__)
PUBLISH_TYPE = "DIRECT_PUBLISH"
_PROBES_AT_ONCE = 2


class Processor:
    """Brings uploaded publications to their end. What is planned is stored, so that a restart goes on with it."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        creators: Creators,
        grants: Grants,
        faults: Faults,
        uploads: UploadStore,
        webhooks: WebhookSender,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._creators = creators
        self._grants = grants
        self._faults = faults
        self._uploads = uploads
        self._webhooks = webhooks
        self._tasks: set[asyncio.Task[None]] = set()
        self._probing = asyncio.Semaphore(_PROBES_AT_ONCE)

    def plan(self, publication: Publication) -> None:
        """Write a waiting processing fault into a publication whose last byte has arrived."""
        fault = self._faults.take(PROCESSING, publication.open_id)
        if fault is not None:
            publication.planned_fail_reason = fault.fail_reason
            publication.stuck = bool(fault.stuck)
            publication.hide_post_id = bool(fault.hide_post_id)

    def start(self, publication: Publication) -> None:
        """Process the publication in the background."""
        self._run(self._process(publication), f"process {publication.publish_id}")

    def announce(self, publication: Publication) -> None:
        """Tell the app once the post can be seen, in the background."""
        self._run(self._announce(publication), f"announce {publication.publish_id}")

    async def stop(self) -> None:
        """Break off all processing."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("processing_broke", task=task.get_name(), exc_info=task.exception())

    async def _process(self, publication: Publication) -> None:
        problem = await self._check(publication)
        uploaded_at = publication.uploaded_at or now()
        await asyncio.sleep(max(0.0, uploaded_at + self._settings.processing_seconds - now()))
        if publication.stuck:
            return
        self._conclude(publication, publication.planned_fail_reason or problem or self._refusal(publication))
        self._uploads.discard(publication)

    async def _check(self, publication: Publication) -> str | None:
        if not self._settings.check_media:
            return None
        creator = self._creators.with_open_id(publication.open_id)
        max_seconds = creator.max_video_post_duration_sec if creator is not None else MAX_SECONDS
        async with self._probing:
            return await asyncio.to_thread(check_video, self._uploads.path(publication), publication.content_type, max_seconds)

    def _refusal(self, publication: Publication) -> str | None:
        if not self._grants.connected(publication.open_id):
            return "auth_removed"
        cap = self._settings.daily_posts
        others = self._ledger.posts_today(publication.open_id, but=publication.publish_id)
        return "spam_risk_too_many_posts" if cap and others >= cap else None

    def _conclude(self, publication: Publication, fail_reason: str | None) -> None:
        if fail_reason is not None:
            publication.status, publication.fail_reason = "FAILED", fail_reason
        else:
            publication.status, publication.published_at = "PUBLISH_COMPLETE", now()
            publication.post_id = self._ledger.fresh_id()
            if publication.privacy_level == "PUBLIC_TO_EVERYONE" and not publication.hide_post_id:
                publication.public_at = publication.published_at + self._settings.moderation_seconds
            creator = self._creators.with_open_id(publication.open_id)
            if creator is not None:
                self._creators.store(creator.model_copy(update={"video_count": creator.video_count + 1}))
        self._ledger.store(publication)
        self._tell_verdict(publication)
        log.info("processed", publish_id=publication.publish_id, status=publication.status, reason=fail_reason)

    def _tell_verdict(self, publication: Publication) -> None:
        told = {"publish_id": publication.publish_id, "publish_type": PUBLISH_TYPE}
        if publication.fail_reason is not None:
            failed = {"publish_id": publication.publish_id, "reason": publication.fail_reason, "publish_type": PUBLISH_TYPE}
            self._webhooks.tell("post.publish.failed", publication.open_id, failed)
            return
        self._webhooks.tell("post.publish.complete", publication.open_id, told)
        if publication.public_at is not None:
            self.announce(publication)

    async def _announce(self, publication: Publication) -> None:
        await asyncio.sleep(max(0.0, (publication.public_at or 0.0) - now()))
        public = {"publish_id": publication.publish_id, "post_id": publication.post_id, "publish_type": PUBLISH_TYPE}
        self._webhooks.tell("post.publish.publicly_available", publication.open_id, public)
        publication.public_told = True
        self._ledger.store(publication)
