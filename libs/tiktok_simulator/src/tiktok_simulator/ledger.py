"""The ledger: every init ever accepted, and what became of it."""

from collections import Counter
from typing import Any

from tiktok_simulator.clock import Clock, rfc3339
from tiktok_simulator.identifiers import snowflake
from tiktok_simulator.journal import Journal, Table
from tiktok_simulator.publications import FAILED, Post, Publication
from tiktok_simulator.quotas import DAY


class Ledger:
    """All publications, in the order of their inits."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._clock = clock
        self._table = Table(journal, "publications", Publication)
        self._by_upload: dict[str, str] = {}
        self._by_open_id: dict[str, list[str]] = {}
        self._by_post: dict[str, str] = {}
        self._last_direct: dict[str, float] = {}
        self._used_ids: set[int] = set()
        self._inits: Counter[tuple[str, str]] = Counter()
        for publication in self._table:
            self._index(publication)

    def add(self, publication: Publication) -> None:
        """Enter an accepted init."""
        self._table.put(publication.publish_id, publication)
        self._index(publication)

    def store(self, publication: Publication) -> None:
        """Store a publication in its present state."""
        self._table.put(publication.publish_id, publication)

    def get(self, publish_id: str) -> Publication | None:
        """Return the publication or None."""
        return self._table.get(publish_id)

    def of_upload(self, upload_id: str) -> Publication | None:
        """Return the publication behind an upload address or None."""
        publish_id = self._by_upload.get(upload_id)
        return self._table.get(publish_id) if publish_id is not None else None

    def all(self) -> list[Publication]:
        """Return all publications in the order of their inits."""
        return list(self._table)

    def of_creator(self, open_id: str) -> list[Publication]:
        """Return a creator's publications in the order of their inits."""
        items = (self._table.get(publish_id) for publish_id in self._by_open_id.get(open_id, ()))
        return [item for item in items if item is not None]

    def of_post(self, post_id: str) -> tuple[Publication, Post] | None:
        """Return a post that was not deleted, and the publication it came of."""
        publication = self._table.get(self._by_post.get(post_id, ""))
        if publication is None:
            return None
        found = next((post for post in publication.posts if post.post_id == post_id and not post.deleted), None)
        return (publication, found) if found is not None else None

    def posts_today(self, open_id: str, but: str | None = None) -> int:
        """Return how many direct posts of a creator have all bytes in the last 24 hours and were not refused."""
        since = self._clock.now() - DAY
        return sum(
            1
            for item in self.of_creator(open_id)
            if item.mode == "direct"
            and item.publish_id != but
            and item.status != FAILED
            and item.uploaded_at is not None
            and item.uploaded_at > since
        )

    def active_creators(self, but: str) -> int:
        """Return how many creators besides ``but`` started a direct post in the last 24 hours."""
        since = self._clock.now() - DAY
        return sum(1 for open_id, at in self._last_direct.items() if at > since and open_id != but)

    def is_active(self, open_id: str) -> bool:
        """Return whether the creator started a direct post in the last 24 hours."""
        return self._last_direct.get(open_id, 0.0) > self._clock.now() - DAY

    def pending_drafts(self, open_id: str, *, waiting_only: bool) -> int:
        """Return how many drafts of the last 24 hours came or may come; ``waiting_only``: not yet dealt with, of any age."""
        at = self._clock.now()
        drafts = [item for item in self.of_creator(open_id) if item.mode == "inbox" and item.may_still_come(at)]
        if waiting_only:
            return sum(1 for item in drafts if item.draft in {"", "waiting"})
        return sum(1 for item in drafts if item.created_at > at - DAY)

    def post(self, publication: Publication, post: Post) -> None:
        """Enter a post that came of a publication."""
        publication.posts.append(post)
        self._by_post[post.post_id] = publication.publish_id
        self.store(publication)

    def __len__(self) -> int:
        return len(self._table)

    def fresh_id(self) -> str:
        """Return a 19-digit id not given before since the start."""
        candidate = snowflake()
        while candidate in self._used_ids:
            candidate = snowflake()
        self._used_ids.add(candidate)
        return str(candidate)

    def reset(self) -> None:
        """Forget everything."""
        self._table.clear()
        self._by_upload.clear()
        self._by_open_id.clear()
        self._by_post.clear()
        self._last_direct.clear()
        self._inits.clear()

    def item(self, publication: Publication, receiving: int = 0) -> dict[str, Any]:
        """Return a publication as the admin API shows it; ``receiving``: bytes of a chunk that is arriving."""
        return {
            "publish_id": publication.publish_id,
            "post_id": publication.post_id,
            "post_ids": [post.post_id for post in publication.posts],
            "open_id": publication.open_id,
            "username": publication.username,
            "title": publication.title,
            "description": publication.description,
            "privacy_level": publication.privacy_level,
            "mode": publication.mode,
            "media_type": publication.media_type,
            "source": publication.source,
            "status": publication.status,
            "fail_reason": publication.fail_reason,
            "bytes": publication.received,
            "size": publication.size,
            "receiving": receiving,
            "sha256": publication.sha256,
            "photos": [photo.model_dump() for photo in publication.photos],
            "urls": [url.partition("?")[0] for url in publication.urls],
            "draft": publication.draft or None,
            "inits": self._inits[(publication.open_id, publication.title)],
            "options": publication.options,
            "created_at": rfc3339(publication.created_at),
            "uploaded_at": rfc3339(publication.uploaded_at),
            "published_at": rfc3339(publication.published_at),
        }

    def _index(self, publication: Publication) -> None:
        self._inits[(publication.open_id, publication.title)] += 1
        self._by_open_id.setdefault(publication.open_id, []).append(publication.publish_id)
        if publication.mode == "direct":
            self._last_direct[publication.open_id] = publication.created_at
        if publication.upload_token:
            self._by_upload[publication.upload_id] = publication.publish_id
        for post in publication.posts:
            self._by_post[post.post_id] = publication.publish_id
