"""The creators' profiles: posts come, become public, change their privacy and go, and the app is told."""

import structlog

from tiktok_simulator.background import Background
from tiktok_simulator.clock import Clock
from tiktok_simulator.ledger import Ledger
from tiktok_simulator.personas import Creators
from tiktok_simulator.publications import COMPLETE, EVERYONE, Post, Publication
from tiktok_simulator.settings import Settings
from tiktok_simulator.webhooks import WebhookSender

log = structlog.get_logger(__name__)
_APART = 0.002
"""Video lists are paged by milliseconds: no two posts of a creator share one, whichever way they are rounded."""


class Feed:
    """Puts posts on profiles. What is still to be told of them goes on after a restart."""

    def __init__(self, settings: Settings, clock: Clock, ledger: Ledger, creators: Creators, webhooks: WebhookSender) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._creators = creators
        self._webhooks = webhooks
        self._background = Background()

    def publish(self, publication: Publication, title: str, privacy_level: str) -> Post:
        """Put a post on the creator's profile; the publication is complete."""
        moderation = publication.moderation if publication.moderation is not None else self._settings.moderation_seconds
        post = Post(
            post_id=self._ledger.fresh_id(),
            title=title,
            privacy_level=privacy_level,
            published_at=self._moment(publication.open_id),
            seen_at=self._clock.now() + moderation,
        )
        if privacy_level == EVERYONE and not publication.hide_post_id:
            post.public_at = post.seen_at
        publication.status = COMPLETE
        self._ledger.post(publication, post)
        self._count(publication.open_id, 1)
        told = {"publish_id": publication.publish_id, "publish_type": publication.publish_type}
        self._webhooks.tell("post.publish.complete", publication.open_id, told)
        if post.public_at is not None:
            self.announce(publication, post)
        return post

    def resume(self, publication: Publication) -> None:
        """Go on with what was not told before a restart."""
        for post in publication.posts:
            if post.public_at is not None and not post.public_told:
                self.announce(publication, post)

    def announce(self, publication: Publication, post: Post) -> None:
        """Tell the app once the post can be seen, in the background."""
        self._background.run(self._announce(publication, post), f"announce {post.post_id}")

    def change_privacy(self, publication: Publication, post: Post, privacy_level: str) -> None:
        """Let the creator change who may see a post; the app is told when it becomes public or no longer is."""
        before, post.privacy_level = post.privacy_level, privacy_level
        if privacy_level == EVERYONE and before != EVERYONE:
            post.public_at = post.seen_at = max(self._clock.now(), post.seen_at)
            post.public_told = False
            self.announce(publication, post)
        elif before == EVERYONE and privacy_level != EVERYONE:
            self._conceal(publication, post)
        self._ledger.store(publication)

    def delete(self, publication: Publication, post: Post) -> None:
        """Let the creator delete a post."""
        post.deleted = True
        if post.privacy_level == EVERYONE:
            self._conceal(publication, post)
        self._count(publication.open_id, -1)
        self._ledger.store(publication)

    async def stop(self) -> None:
        """Break off what is waiting."""
        await self._background.stop()

    def _conceal(self, publication: Publication, post: Post) -> None:
        self._background.break_off(f"announce {post.post_id}")
        if post.public_told:
            self._webhooks.tell("post.publish.no_longer_publicaly_available", publication.open_id, _about(publication, post))
        post.public_at = None

    def _moment(self, open_id: str) -> float:
        newest = [post.published_at for item in self._ledger.of_creator(open_id) for post in item.posts]
        return max(self._clock.now(), max(newest, default=0.0) + _APART)

    def _count(self, open_id: str, change: int) -> None:
        creator = self._creators.with_open_id(open_id)
        if creator is not None:
            count = max(0, creator.video_count + change)
            self._creators.store(creator.model_copy(update={"video_count": count}))

    async def _announce(self, publication: Publication, post: Post) -> None:
        await self._clock.sleep_until(post.public_at or 0.0)
        post.public_told = True
        self._ledger.store(publication)
        self._webhooks.tell("post.publish.publicly_available", publication.open_id, _about(publication, post))


def _about(publication: Publication, post: Post) -> dict[str, object]:
    return {"publish_id": publication.publish_id, "post_id": post.post_id, "publish_type": publication.publish_type}
