"""What an accepted init became: the publication, the photos fetched for it, and the posts that came of it."""

from typing import Any, Literal

from pydantic import BaseModel, model_validator

FILE_UPLOAD = "FILE_UPLOAD"
PULL_FROM_URL = "PULL_FROM_URL"
PROCESSING_UPLOAD = "PROCESSING_UPLOAD"
PROCESSING_DOWNLOAD = "PROCESSING_DOWNLOAD"
SENT_TO_INBOX = "SEND_TO_USER_INBOX"
COMPLETE = "PUBLISH_COMPLETE"
FAILED = "FAILED"
EVERYONE = "PUBLIC_TO_EVERYONE"


class Photo(BaseModel):
    """One fetched picture; size in bytes."""

    sha256: str
    size: int


class Post(BaseModel):
    """One post on the creator's profile. Times in Unix seconds; ``public_at`` is when anyone may see its id in the status."""

    post_id: str
    title: str
    privacy_level: str
    published_at: float
    seen_at: float
    public_at: float | None = None
    public_told: bool = False
    deleted: bool = False


class Publication(BaseModel):
    """One accepted init. Times in Unix seconds, sizes in bytes.

    ``received`` counts the bytes of whole stored chunks, or what has been fetched. It is a publication in the sense of
    exactly-once when ``sha256`` is set (all bytes are in) and ``status`` is not FAILED. ``sha256`` of several photos is
    that of all of them one after the other. A draft may be posted several times, everything else once.
    """

    publish_id: str
    open_id: str
    username: str
    mode: Literal["direct", "inbox"] = "direct"
    media_type: Literal["video", "photo"] = "video"
    source: str = FILE_UPLOAD
    title: str = ""
    description: str = ""
    privacy_level: str = ""
    options: dict[str, Any] = {}
    urls: list[str] = []
    photos: list[Photo] = []
    status: str = PROCESSING_UPLOAD
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
    duration: int = 1
    width: int = 576
    height: int = 1024
    draft: Literal["", "waiting", "posted", "discarded"] = ""
    posts: list[Post] = []
    created_at: float
    uploaded_at: float | None = None
    planned_fail_reason: str | None = None
    planned_delay: float = 0.0
    stuck: bool = False
    pull_stuck: bool = False
    hide_post_id: bool = False
    moderation: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_before_posts(cls, data: Any) -> Any:
        """Read a state file of the time when a publication was one post at most."""
        if isinstance(data, dict) and data.get("post_id") and "posts" not in data:
            names = ("post_id", "title", "privacy_level", "published_at", "public_at", "public_told")
            post = {name: data[name] for name in names if data.get(name) is not None}
            data = {**data, "posts": [{"seen_at": post.get("public_at", post["published_at"]), **post}]}
        return data

    @property
    def finished(self) -> bool:
        """Whether TikTok's verdict is final."""
        return self.status in {COMPLETE, FAILED}

    @property
    def post_id(self) -> str | None:
        """The first post's id, whether or not TikTok shows it."""
        return self.posts[0].post_id if self.posts else None

    @property
    def published_at(self) -> float | None:
        """When the first post came about."""
        return self.posts[0].published_at if self.posts else None

    @property
    def publish_type(self) -> str:
        """What webhooks call the mode."""
        return "DIRECT_PUBLISH" if self.mode == "direct" else "INBOX_SHARE"

    def may_still_come(self, at: float) -> bool:
        """Whether it is a draft that waits, or one that can still arrive: its address has not run out, or bytes are in."""
        alive = self.uploaded_at is not None or self.source == PULL_FROM_URL or self.upload_expires_at > at
        return alive and self.status != FAILED
