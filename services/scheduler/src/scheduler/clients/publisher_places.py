"""Questions of users to the publisher: so many at once, and of each user no more than a share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common.places import NoPlace, Places
from scheduler.clients.publisher import Look, PublisherAway, PublisherClient
from scheduler.domain.post import Post

PATIENCE_S = 1.0
"""So long one waits for a place."""


class PublisherPlaces:
    """Asks the publisher for a post's owner, who waits for a place first; whoever gets none finds the publisher away.

    Under way and waiting are fewer than `scheduler.questions` hands out, so that what needs no question is never held up.
    """

    def __init__(self, publisher: PublisherClient) -> None:
        self._publisher = publisher
        self._stops = Places(in_all=20, per_user=10, waiting_in_all=120, waiting_per_user=60)
        # Each takes as long as TikTok's answer.
        self._looks = Places(in_all=12, per_user=4, waiting_in_all=24, waiting_per_user=8)

    async def cancel(self, post: Post) -> bool:
        """Ask to stop the post's current attempt, as `PublisherClient.cancel` does."""
        async with _place(self._stops, post):
            return await self._publisher.cancel(post.id, post.attempt)

    async def look(self, post: Post) -> Look:
        """Have TikTok asked about the post's attempts, as `PublisherClient.look` does."""
        async with _place(self._looks, post):
            return await self._publisher.look(post.id, post.attempt)


@asynccontextmanager
async def _place(places: Places, post: Post) -> AsyncIterator[None]:
    try:
        async with places.waited_for(post.user_id, seconds=PATIENCE_S):
            yield
    except NoPlace as error:
        raise PublisherAway("no place") from error
