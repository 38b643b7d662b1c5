"""The life of a publish job: states, steps, and the checkpoint that a replica finds when it takes a job over."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from publisher.domain.outcomes import PublishOutcome


class State(StrEnum):
    """Where a job stands. The last four are ends; `unconfirmed` may still be settled by late evidence."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether the job does nothing more of itself."""
        return self not in {State.QUEUED, State.RUNNING}

    @property
    def proves_nothing_published(self) -> bool:
        """Whether this attempt published nothing and never will."""
        return self in {State.FAILED, State.CANCELLED}

    @classmethod
    def of_stored(cls, value: str) -> "State":
        """Return the stored state of an attempt; one that is not known counts as running: it may still publish."""
        return next((state for state in cls if state == value), cls.RUNNING)


class Step(StrEnum):
    """The last checkpoint that was stored. `init_intended` and `uploading` are intents: the call may or may not have run.

    `fetching` is for files that come from an address: once they are there, the job is where others are that have a file.
    """

    QUEUED = "queued"
    TOKEN = "token"  # noqa: S105 - the name of a step
    FETCHING = "fetching"
    CREATOR_INFO = "creator_info"
    INIT_INTENDED = "init_intended"
    INIT_DONE = "init_done"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    POLLING = "polling"


class Transfer(StrEnum):
    """How the media reach TikTok. Files publish when their last byte arrives, pulls and photos from init alone."""

    FILE = "file"
    PULL = "pull"
    PHOTO = "photo"

    @classmethod
    def of_stored(cls, value: str) -> "Transfer":
        """Return the stored transfer of an attempt; one that is not known counts as what publishes from init alone."""
        return next((transfer for transfer in cls if transfer == value), cls.PULL)


class CancelState(StrEnum):
    """How far the wish is that TikTok gives up a fetch that is under way."""

    WANTED = "wanted"
    """A person wants it; TikTok has not answered yet."""
    ASKED = "asked"
    """TikTok agreed: its status will tell."""
    REFUSED = "refused"
    """TikTok said that it is too late."""


class Lane(StrEnum):
    """Which runner takes the job: `send` until all bytes are out, `follow` for polls after it."""

    SEND = "send"
    FOLLOW = "follow"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that decides how a job goes on. Sizes in bytes.

    `sent_bytes` is what TikTok confirmed. `last_chunk_intended` false proves that the last byte never left, so that a file
    cannot have been published. `upload_ended_at` is when TikTok first refused the upload address for good, or when something of
    ours ended it. `outcome` is that of a job that succeeded, `cancel_state` set once a person wanted to stop a fetch that may be
    under way. While `must_fetch`, the file lies at an address only: its bytes are not known, and `total_bytes` is at most what was
    announced.
    """

    state: State
    step: Step
    transfer: Transfer
    publish_before: datetime
    total_bytes: int = 0
    sent_bytes: int = 0
    upload_expires_at: datetime | None = None
    last_chunk_intended: bool = False
    irrevocable_since: datetime | None = None
    submitted_at: datetime | None = None
    upload_ended_at: datetime | None = None
    upload_ended_code: str | None = None
    refused_since: datetime | None = None
    deferrals: int = 0
    polls: int = 0
    outcome: PublishOutcome | None = None
    cancel_state: CancelState | None = None
    must_fetch: bool = False

    @property
    def cannot_have_published(self) -> bool:
        """Whether it is certain that TikTok lacks bytes of the file, because the last chunk never left."""
        return self.transfer is Transfer.FILE and self.submitted_at is None and not self.last_chunk_intended

    @property
    def cancel_wanted(self) -> bool:
        """Whether a person wants it stopped, whatever TikTok answered."""
        return self.cancel_state is not None

    @property
    def deadline_holds(self) -> bool:
        """Whether `publish_before` may still end it: no chunk was intended, or TikTok has confirmed none of the bytes."""
        return self.irrevocable_since is None or (self.cannot_have_published and self.sent_bytes == 0)
