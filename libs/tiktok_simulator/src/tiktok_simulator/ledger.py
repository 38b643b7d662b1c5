"""The ledger: every init ever accepted, and what became of it."""

from collections import Counter
from typing import Any

from pydantic import BaseModel

from tiktok_simulator.clock import now, rfc3339
from tiktok_simulator.identifiers import snowflake
from tiktok_simulator.journal import Journal, Table
from tiktok_simulator.quotas import DAY


class Publication(BaseModel):
    """One accepted init. Times in Unix seconds, sizes in bytes.

    ``received`` counts the bytes of whole stored chunks. It is a publication in the sense of exactly-once when
    ``sha256`` is set (all bytes are in) and ``status`` is not FAILED.
    """

    publish_id: str
    open_id: str
    username: str
    mode: str = "direct"
    source: str = "FILE_UPLOAD"
    title: str = ""
    privacy_level: str = ""
    options: dict[str, Any] = {}
    status: str = "PROCESSING_UPLOAD"
    fail_reason: str | None = None
    size: int = 0
    chunk_size: int = 0
    chunk_count: int = 0
    upload_id: str = ""
    upload_token: str = ""
    upload_expires_at: float = 0.0
    content_type: str | None = None
    received: int = 0
    sha256: str | None = None
    post_id: str | None = None
    created_at: float
    uploaded_at: float | None = None
    published_at: float | None = None
    public_at: float | None = None
    public_told: bool = False
    planned_fail_reason: str | None = None
    stuck: bool = False
    hide_post_id: bool = False

    @property
    def finished(self) -> bool:
        """Whether TikTok's verdict is final."""
        return self.status in {"PUBLISH_COMPLETE", "FAILED"}


class Ledger:
    """All publications, in the order of their inits."""

    def __init__(self, journal: Journal) -> None:
        self._table = Table(journal, "publications", Publication)
        self._by_upload: dict[str, str] = {}
        self._by_open_id: dict[str, list[str]] = {}
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

    def posts_today(self, open_id: str, but: str | None = None) -> int:
        """Return how many direct posts of a creator have all bytes in the last 24 hours and were not refused."""
        since = now() - DAY
        return sum(
            1
            for item in self.of_creator(open_id)
            if item.mode == "direct"
            and item.publish_id != but
            and item.status != "FAILED"
            and item.uploaded_at is not None
            and item.uploaded_at > since
        )

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
        self._inits.clear()

    def item(self, publication: Publication, receiving: int = 0) -> dict[str, Any]:
        """Return a publication as the admin API shows it; ``receiving``: bytes of a chunk that is arriving."""
        return {
            "publish_id": publication.publish_id,
            "post_id": publication.post_id,
            "open_id": publication.open_id,
            "username": publication.username,
            "title": publication.title,
            "privacy_level": publication.privacy_level,
            "mode": publication.mode,
            "status": publication.status,
            "fail_reason": publication.fail_reason,
            "bytes": publication.received,
            "size": publication.size,
            "receiving": receiving,
            "sha256": publication.sha256,
            "inits": self._inits[(publication.open_id, publication.title)],
            "options": publication.options,
            "created_at": rfc3339(publication.created_at),
            "uploaded_at": rfc3339(publication.uploaded_at),
            "published_at": rfc3339(publication.published_at),
        }

    def _index(self, publication: Publication) -> None:
        self._inits[(publication.open_id, publication.title)] += 1
        self._by_open_id.setdefault(publication.open_id, []).append(publication.publish_id)
        if publication.upload_id:
            self._by_upload[publication.upload_id] = publication.publish_id
