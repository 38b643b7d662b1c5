"""What happens once all bytes are in: checks, the wait, the verdict; a post, or a draft in the creator's inbox."""

import asyncio

import structlog

from tiktok_simulator.background import Background
from tiktok_simulator.clock import Clock
from tiktok_simulator.faults import PROCESSING, Faults
from tiktok_simulator.feed import Feed
from tiktok_simulator.grants import Grants
from tiktok_simulator.ledger import Ledger
from tiktok_simulator.personas import Creators
from tiktok_simulator.photo_check import check_photo
from tiktok_simulator.probe import MAX_SECONDS, check_video, facts_of
from tiktok_simulator.publications import FAILED, SENT_TO_INBOX, Publication
from tiktok_simulator.settings import Settings
from tiktok_simulator.upload_store import UploadStore
from tiktok_simulator.webhooks import WebhookSender

log = structlog.get_logger(__name__)
_PROBES_AT_ONCE = 2


class Processor:
    """Brings publications whose bytes are in to their end. What is planned is stored, so that a restart goes on with it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        ledger: Ledger,
        creators: Creators,
        grants: Grants,
        faults: Faults,
        uploads: UploadStore,
        feed: Feed,
        webhooks: WebhookSender,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._creators = creators
        self._grants = grants
        self._faults = faults
        self._uploads = uploads
        self._feed = feed
        self._webhooks = webhooks
        self._background = Background()
        self._probing = asyncio.Semaphore(_PROBES_AT_ONCE)

    def plan(self, publication: Publication) -> None:
        """Write a waiting processing fault into a publication whose last byte has arrived."""
        fault = self._faults.take(PROCESSING, publication.open_id)
        if fault is not None:
            publication.planned_fail_reason = fault.fail_reason
            publication.planned_delay = fault.delay or 0.0
            publication.stuck = bool(fault.stuck)
            publication.hide_post_id = bool(fault.hide_post_id)
            publication.moderation = fault.moderation

    def start(self, publication: Publication) -> None:
        """Process the publication in the background."""
        self._background.run(self._process(publication), f"process {publication.publish_id}")

    def refuse(self, publication: Publication, fail_reason: str) -> None:
        """End a publication as FAILED, tell the app, and drop its bytes."""
        publication.status, publication.fail_reason = FAILED, fail_reason
        self._ledger.store(publication)
        told = {"publish_id": publication.publish_id, "reason": fail_reason, "publish_type": publication.publish_type}
        self._webhooks.tell("post.publish.failed", publication.open_id, told)
        self._uploads.discard(publication)
        log.info("refused", publish_id=publication.publish_id, reason=fail_reason)

    async def stop(self) -> None:
        """Break off all processing."""
        await self._background.stop()

    async def _process(self, publication: Publication) -> None:
        problem = await self._check(publication)
        uploaded_at = publication.uploaded_at or self._clock.now()
        await self._clock.sleep_until(uploaded_at + self._settings.processing_seconds + publication.planned_delay)
        if publication.stuck:
            return
        problem = publication.planned_fail_reason or problem or self._refusal(publication)
        if problem is not None:
            self.refuse(publication, problem)
            return
        if publication.mode == "direct":
            self._feed.publish(publication, publication.title, publication.privacy_level)
        else:
            self._deliver(publication)
        self._uploads.discard(publication)
        log.info("processed", publish_id=publication.publish_id, status=publication.status)

    async def _check(self, publication: Publication) -> str | None:
        if not self._settings.check_media:
            return None
        async with self._probing:
            if publication.media_type == "photo":
                paths = [self._uploads.photo_path(publication, index) for index in range(len(publication.photos))]
                problems = [await asyncio.to_thread(check_photo, path) for path in paths]
                return next((problem for problem in problems if problem is not None), None)
            creator = self._creators.with_open_id(publication.open_id)
            max_seconds = creator.max_video_post_duration_sec if creator is not None else MAX_SECONDS
            path = self._uploads.path(publication)
            problem = await asyncio.to_thread(check_video, path, publication.content_type, max_seconds)
            if problem is None:
                publication.duration, publication.width, publication.height = await asyncio.to_thread(facts_of, path)
            return problem

    def _refusal(self, publication: Publication) -> str | None:
        if not self._grants.connected(publication.open_id):
            return "auth_removed"
        creator = self._creators.with_open_id(publication.open_id)
        if creator is not None and creator.banned:
            return "spam_risk_user_banned_from_posting"
        if publication.mode != "direct":
            return None
        cap = self._settings.daily_posts
        others = self._ledger.posts_today(publication.open_id, but=publication.publish_id)
        return "spam_risk_too_many_posts" if cap and others >= cap else None

    def _deliver(self, publication: Publication) -> None:
        publication.status, publication.draft = SENT_TO_INBOX, "waiting"
        self._ledger.store(publication)
        told = {"publish_id": publication.publish_id, "publish_type": publication.publish_type}
        self._webhooks.tell("post.publish.inbox_delivered", publication.open_id, told)
