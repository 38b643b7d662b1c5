"""The checks of a post against what is there: its account, its creator, its media, other posts. One path for all who ask."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from common.database.database import Transaction
from scheduler.domain.account_copy import AccountCopy
from scheduler.domain.daily_cap import Planned
from scheduler.domain.finding import Finding
from scheduler.domain.holds import hold_of
from scheduler.domain.media import Media, MediaStatus
from scheduler.domain.post_rules import check_media_options, check_privacy_options
from scheduler.domain.readiness import ACCOUNT_FIELD, MEDIA_LOST, check_grant, check_scope
from scheduler.domain.sandbox import check_sandbox, sandbox_warning
from scheduler.storage.accounts import find_accounts
from scheduler.storage.media import find_media
from scheduler.storage.posts import Twin, find_duplicates, serialise_duplicates
from scheduler.usecases.crowded_days import DayPost, crowded_days
from scheduler.usecases.problems import account_not_found, finding_of
from scheduler.usecases.surroundings import Surroundings
from scheduler.usecases.wanted_post import WantedPost

PRIVACY_UNCHECKED = Finding(
    "privacy_level",
    "privacy_unchecked",
    "TikTok could not be asked which privacy levels this creator may choose.",
    "Nothing to do: it is asked again before the post is published.",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A post to be judged.

    `post_id` is set when it exists, `is_settled` when its video was accepted for this account before, `due_at` when it is due at
    another time than the one it was scheduled for.
    """

    wanted: WantedPost
    around: Surroundings
    post_id: UUID | None = None
    is_settled: bool = False
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict: every broken rule (none: it may be stored), what may stop it all the same, and what it belongs to."""

    wanted: WantedPost
    findings: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    account: AccountCopy | None
    media: Media | None

    @property
    def shown_warnings(self) -> tuple[Finding, ...]:
        """All warnings that the post shows, or would show: also that it waits for its account."""
        reason = self.hold_reason
        return self.warnings if reason is None else (*self.warnings, hold_of(reason).warning())

    @property
    def hold_reason(self) -> str | None:
        """Why the post waits for its account, None while it does not: drafts never do."""
        return self.account.hold_reason if self.account is not None and not self.wanted.fields.draft else None


async def judge_posts(tx: Transaction, candidates: Sequence[Candidate], user_id: UUID, *, lock: bool) -> list[Judged]:
    """Judge posts of one user together; a video twice among them is a duplicate, too.

    With `lock`, what the verdicts rest on stays so until the transaction ends: accounts, then files, then the right to post a
    video for an account, in one order for all transactions.
    """
    ids = {item.around.account_id for item in candidates if item.around.account_id is not None}
    accounts = await find_accounts(tx.connection, ids, lock=lock)
    wanted_media = {item.wanted.fields.media_id for item in candidates if item.wanted.fields.media_id is not None}
    files = await find_media(tx.connection, wanted_media, user_id, lock=lock)
    pairs = {pair for item in candidates if _is_asked(item) and (pair := _pair(item, accounts, files)) is not None}
    twins: dict[tuple[UUID, str], Twin | None] = {}
    if pairs:
        if lock:
            await serialise_duplicates(tx.connection, pairs)
        other_than = candidates[0].post_id if len(candidates) == 1 else None
        twins.update(await find_duplicates(tx.connection, pairs, user_id, other_than=other_than))
    judged = [_judge(item, accounts, files, twins, user_id) for item in candidates]
    crowded = await crowded_days(tx, dict(_day_posts(candidates, judged)))
    return [
        replace(one, warnings=(*one.warnings, crowded[number])) if number in crowded else one
        for number, one in enumerate(judged)
    ]


def _day_posts(candidates: Sequence[Candidate], judged: Sequence[Judged]) -> Iterator[tuple[int, DayPost]]:
    """Yield those that count in their account's day, as far as that is known, by place."""
    for number, (item, verdict) in enumerate(zip(candidates, judged, strict=True)):
        wanted, due_at = item.wanted, item.due_at or item.wanted.scheduled_time
        day = item.around.days.get(wanted.fields.mode)
        is_new_and_broken = item.post_id is None and verdict.findings
        if verdict.account is None or day is None or due_at is None or wanted.fields.draft or is_new_and_broken:
            continue
        planned = Planned(due_at, wanted.publish_before)
        yield number, DayPost(verdict.account.id, wanted.fields.mode, planned, day, item.post_id)


def _judge(
    item: Candidate,
    accounts: Mapping[UUID, AccountCopy],
    files: Mapping[UUID, Media],
    twins: dict[tuple[UUID, str], Twin | None],
    user_id: UUID,
) -> Judged:
    account, missing = _account(item, accounts, user_id)
    findings = [*item.wanted.findings, *missing, *_privacy(item), *_sandbox(item)]
    media_id = item.wanted.fields.media_id
    media = files.get(media_id) if media_id is not None else None
    if media_id is not None:
        findings += _media(item, media)
    pair = _pair(item, accounts, files)
    if pair is not None and pair in twins and _is_asked(item):
        findings.append(duplicate_finding(twins[pair]))
    elif pair is not None and not findings:
        twins.setdefault(pair, None)
    return Judged(item.wanted, tuple(findings), (*item.wanted.warnings, *_doubts(item)), account, media)


def _doubts(item: Candidate) -> Collection[Finding]:
    """Return what may stop the post at its time as things stand now; they are looked at again shortly before it."""
    due_at = item.due_at or item.wanted.scheduled_time
    grant = check_grant(item.around.grant_expires_at, due_at=due_at)
    scope = check_scope(item.around.scopes, item.wanted.fields.mode)
    creator = item.around.creator
    if creator is not None and creator.refusal is not None:
        standing: Finding | None = creator.refusal
    elif scope is not None:
        # Without it TikTok tells nothing of the creator, so nothing was left unasked.
        standing = None
    else:
        standing = PRIVACY_UNCHECKED if _wants_options(item) and _levels(item) is None else None
    fields = item.wanted.fields
    sandbox = sandbox_warning(fields.privacy_level, fields.mode) if item.around.sandbox else None
    lost = MEDIA_LOST if item.around.file_lost else None
    return [doubt for doubt in (grant, scope, standing, sandbox, lost) if doubt is not None]


def _account(item: Candidate, accounts: Mapping[UUID, AccountCopy], user_id: UUID) -> tuple[AccountCopy | None, list[Finding]]:
    if item.around.account_id is None:
        return None, list(item.around.findings)
    account = accounts.get(item.around.account_id)
    if account is None or account.deleted or account.user_id != user_id:
        return None, [finding_of(account_not_found(), ACCOUNT_FIELD)]
    return account, []


def _privacy(item: Candidate) -> Collection[Finding]:
    levels = _levels(item)
    if not _wants_options(item) or levels is None:
        return ()
    finding = check_privacy_options(item.wanted.fields.privacy_level, levels)
    return () if finding is None else (finding,)


def _sandbox(item: Candidate) -> Collection[Finding]:
    fields = item.wanted.fields
    if not item.around.sandbox:
        return ()
    finding = check_sandbox(fields.privacy_level, fields.mode, is_branded=fields.brand_content_toggle)
    return () if finding is None else (finding,)


def _levels(item: Candidate) -> tuple[str, ...] | None:
    return item.around.creator.levels if item.around.creator is not None else None


def _wants_options(item: Candidate) -> bool:
    fields = item.wanted.fields
    return item.around.asked_creator and fields.mode == "direct" and fields.privacy_level is not None


def _media(item: Candidate, media: Media | None) -> Collection[Finding]:
    if media is None:
        return (
            Finding("media_id", "media_not_found", "There is no such media file.", "GET /media lists your files.", status=404),
        )
    if media.status == MediaStatus.PROCESSING:
        message, hint = "The file is still being checked.", "Try again in a second."
        return (Finding("media_id", "media_not_ready", message, hint, status=409, retry_after=1),)
    if media.status == MediaStatus.REJECTED:
        message, hint = "The file breaks TikTok's rules.", "Upload one that keeps them."
        return (Finding("media_id", "media_rejected", message, hint, extra={"errors": media.problems}),)
    if media.is_photo:
        hint = "Give media_id the id of a video. TikTok takes photos from addresses only: photo_urls."
        return (Finding("media_id", "media_not_a_video", "The file is a photo.", hint),)
    return check_media_options(
        cover_timestamp_ms=item.wanted.fields.cover_timestamp_ms,
        duration_ms=media.duration_ms,
        max_seconds=item.around.creator.max_seconds if item.around.creator is not None else None,
    )


def _pair(item: Candidate, accounts: Mapping[UUID, AccountCopy], files: Mapping[UUID, Media]) -> tuple[UUID, str] | None:
    """Return (account, sha256) of a post that posts a video anew."""
    fields = item.wanted.fields
    if fields.draft or item.is_settled:
        return None
    account_id, media_id = item.around.account_id, fields.media_id
    if account_id is None or account_id not in accounts or media_id is None or media_id not in files:
        return None
    return account_id, files[media_id].sha256


def _is_asked(item: Candidate) -> bool:
    """Whether its video may not be there already; one that may be is there for others all the same."""
    return not item.wanted.fields.allow_duplicate


def duplicate_finding(twin: Twin | None) -> Finding:
    """Return the finding about a post that is stored; None: about an earlier row of the same batch."""
    if twin is None:
        message = "An earlier row has the same video for the same account."
    elif twin.post_id is None:
        message = "A post of the last 24 hours that you took off the lists has the same video for the same account."
    else:
        message = "A post of the last 24 hours has the same video for the same account."
    return Finding(
        "media_id",
        "duplicate_media",
        message,
        "Send allow_duplicate: true if this is meant.",
        status=409,
        extra={} if twin is None or twin.post_id is None else {"post_id": str(twin.post_id)},
    )
