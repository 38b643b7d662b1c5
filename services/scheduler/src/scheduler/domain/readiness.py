"""What may stop a post at its time although it breaks no rule: the grant, the creator's standing, the bytes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.domain.finding import Finding

ACCOUNT_FIELD = "tiktok_account_id"
MEDIA_LOST = Finding(
    "media_id",
    "media_lost",
    "The file's bytes are not in the storage any more.",
    "Upload the same file again, or give the post another media_id.",
)
GRANT_NOTICE = timedelta(days=30)
"""A grant that lives longer is renewed by using the account before it ends, so it says nothing about a post years ahead."""
SCOPES = {"direct": "video.publish", "inbox": "video.upload"}
"""What a creator has to have granted, by the mode of a post."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found out shortly before the due time.

    `object_there` is None, `account_known` and `day_known` (how full the account's day is) false, when it could not be.
    """

    account_known: bool = False
    account_gone: bool = False
    object_there: bool | None = None
    day_known: bool = True

    @property
    def is_known(self) -> bool:
        """Whether everything could be found out."""
        return self.account_known and self.object_there is not None and self.day_known


def soon(grant_expires_at: datetime | None, *, now: datetime) -> datetime | None:
    """Return when a grant ends if that is within a month, else None."""
    return grant_expires_at if grant_expires_at is not None and grant_expires_at <= now + GRANT_NOTICE else None


def check_grant(grant_expires_at: datetime | None, *, due_at: datetime | None) -> Finding | None:
    """Return what is wrong when TikTok's permission ends before a post is due; None of either time is no finding."""
    if grant_expires_at is None or due_at is None or grant_expires_at > due_at:
        return None
    return Finding(
        ACCOUNT_FIELD,
        "grant_ends_before_due",
        "TikTok's permission for this account ends before the post is due.",
        "Connect the account again before that.",
    )


def check_scope(granted: Collection[str] | None, mode: str) -> Finding | None:
    """Return what is wrong when the creator has not granted what posts of this mode need; None of the scopes: not known."""
    needed = SCOPES[mode]
    if granted is None or needed in granted:
        return None
    what = "posts" if mode == "direct" else "drafts in the creator's inbox"
    return Finding(
        ACCOUNT_FIELD,
        "missing_scope",
        f"The TikTok account does not grant {needed}, which {what} need.",
        "Connect the account again and leave every right ticked on TikTok's page.",
    )


def problems_before_due(readiness: Readiness) -> list[Finding]:
    """Return what would stop a post that is due now."""
    findings: list[Finding] = []
    if readiness.account_gone:
        message, hint = "The TikTok account is not connected any more.", "Connect it again before that."
        findings.append(Finding(ACCOUNT_FIELD, "account_not_found", message, hint))
    if readiness.object_there is False:
        findings.append(MEDIA_LOST)
    return findings
