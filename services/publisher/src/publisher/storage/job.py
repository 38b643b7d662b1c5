"""A publish job as it is stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from common.contracts.context import Context
from common.contracts.scheduler import MediaFile, PostDue
from publisher.domain.job import CancelState, Checkpoint, Lane, State, Step, Transfer
from publisher.domain.tiktok_limits import INIT, TURN

BEGINNING = frozenset({Step.QUEUED, Step.TOKEN, Step.CREATOR_INFO})
"""Steps in which a job stands in its account's line."""

SEQUENCES_PER_ATTEMPT = 100_000
"""A later attempt's events count on from beyond an earlier one's, since `sequence` compares per post."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """The event told last, kept so that a sweep can be answered with it: routing key and data."""

    key: str
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"key": self.key, "data": self.data}


@dataclass(frozen=True, slots=True)
class JobRef:
    """What is certain of any row that is no tombstone, also of one that cannot be read as a whole."""

    id: UUID
    post_id: UUID
    attempt: int
    account_id: UUID
    context: Context
    lease_token: int
    sequence: int
    state: str
    step: str
    reason: dict[str, Any] | None
    updated_at: datetime


class JobUnreadable(Exception):
    """A row that makes no job: written by a version that knew more, or by a hand."""

    def __init__(self, ref: JobRef) -> None:
        super().__init__(f"job {ref.id}")
        self.ref = ref


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt to publish one post. Times by the database's clock, sizes in bytes.

    `fetched` is the file that came from the post's address. `init_log_id` is that of TikTok's answer to the init.
    `awaits_account` while it waits for its account to be active again,
    `awaits_quota` names the limit of TikTok that it waits for;
    `account_version` is that of the account's newest event at the claim (0: none).
    """

    id: UUID
    post_id: UUID
    attempt: int
    post: PostDue
    context: Context
    checkpoint: Checkpoint
    lane: Lane
    run_at: datetime | None
    lease_owner: str | None
    lease_token: int
    last_owner: str | None
    sequence: int
    open_id: str | None
    username: str | None
    publish_id: str | None
    upload_url: str | None
    streamed_bytes: int
    tiktok_status: str | None
    tiktok_video_id: str | None
    reason: dict[str, Any] | None
    last_event: StoredEvent | None
    started_at: datetime | None
    updated_at: datetime
    awaits_account: bool
    awaits_quota: str | None
    sent_privacy_level: str | None
    init_log_id: str | None
    fetched: MediaFile | None = None
    account_version: int = 0

    @property
    def account_id(self) -> UUID:
        """The account it publishes for."""
        return self.post.account_id

    @property
    def media(self) -> MediaFile | None:
        """The file in storage whose bytes are sent: from the library, or fetched from the post's address."""
        return self.post.media or self.fetched

    @property
    def privacy_level(self) -> str | None:
        """The level it went out with, whatever holds now; the one asked for while no init was intended."""
        return self.sent_privacy_level or self.post.content.privacy_level

    def left_line(self, before: "Job") -> bool:
        """Whether it has not begun and came to wait for something else than its turn: those behind it may go first."""
        is_beginning = self.checkpoint.step in BEGINNING and not self.checkpoint.state.is_end
        if not is_beginning or self.awaits_quota in {INIT.name, TURN}:
            return False
        return self.awaits_quota is None or self.awaits_quota != before.awaits_quota

    def __repr__(self) -> str:
        return f"Job({self.post_id}#{self.attempt} {self.checkpoint.state}/{self.checkpoint.step})"


def ref_from(row: "Row[Any]") -> JobRef:
    """Return what is certain of a row that is no tombstone."""
    return JobRef(
        id=row.id,
        post_id=row.post_id,
        attempt=row.attempt,
        account_id=row.account_id,
        context=_context_from(row),
        lease_token=row.lease_token,
        sequence=row.sequence,
        state=row.state,
        step=row.step,
        reason=row.reason,
        updated_at=row.updated_at,
    )


def job_from(row: "Row[Any]", *, account_version: int = 0) -> Job:
    """Return the job of a row that is no tombstone; raises `JobUnreadable`."""
    try:
        return _job_from(row, account_version)
    except (ValueError, KeyError, TypeError) as error:
        raise JobUnreadable(ref_from(row)) from error


def _job_from(row: "Row[Any]", account_version: int) -> Job:
    event, post = row.last_event, PostDue.model_validate(row.post)
    transfer = Transfer(row.transfer)
    must_fetch = transfer is Transfer.FILE and post.media is None and post.source_url is not None and row.fetched is None
    return Job(
        id=row.id,
        post_id=row.post_id,
        attempt=row.attempt,
        post=post,
        context=_context_from(row),
        checkpoint=_checkpoint_from(row, must_fetch=must_fetch),
        lane=Lane(row.lane),
        run_at=row.run_at,
        lease_owner=row.lease_owner,
        lease_token=row.lease_token,
        last_owner=row.last_owner,
        sequence=row.sequence,
        open_id=row.open_id,
        username=row.username,
        publish_id=row.publish_id,
        upload_url=row.upload_url,
        streamed_bytes=row.streamed_bytes,
        tiktok_status=row.tiktok_status,
        tiktok_video_id=row.tiktok_video_id,
        reason=row.reason,
        last_event=None if event is None else StoredEvent(event["key"], event["data"]),
        started_at=row.started_at,
        updated_at=row.updated_at,
        awaits_account=row.awaits_account,
        awaits_quota=row.awaits_quota,
        sent_privacy_level=row.sent_privacy_level,
        init_log_id=row.init_log_id,
        fetched=None if row.fetched is None else MediaFile.model_validate(row.fetched),
        account_version=account_version,
    )


def _context_from(row: "Row[Any]") -> Context:
    return Context(
        user_id=row.user_id,
        actor="service:publisher",
        correlation_id=row.correlation_id,
        causation_id=row.causation_id,
        traceparent=row.traceparent,
    )


def _checkpoint_from(row: "Row[Any]", *, must_fetch: bool) -> Checkpoint:
    return Checkpoint(
        state=State(row.state),
        step=Step(row.step),
        transfer=Transfer(row.transfer),
        publish_before=row.publish_before,
        total_bytes=row.total_bytes,
        sent_bytes=row.sent_bytes,
        upload_expires_at=row.upload_expires_at,
        last_chunk_intended=row.last_chunk_intended,
        irrevocable_since=row.irrevocable_since,
        submitted_at=row.submitted_at,
        upload_ended_at=row.upload_ended_at,
        upload_ended_code=row.upload_ended_code,
        refused_since=row.refused_since,
        deferrals=row.deferrals,
        polls=row.polls,
        outcome=row.outcome,
        cancel_state=None if row.cancel_state is None else CancelState(row.cancel_state),
        must_fetch=must_fetch,
    )
