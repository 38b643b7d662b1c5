"""What else must be true shortly before the due time: the grant lives, the creator may post, the bytes are there."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.finding import Finding

ACCOUNT_FIELD = "tiktok_account_id"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found out; `object_there` is None, and `account_known` false, when it could not be."""

    account_known: bool = False
    account_gone: bool = False
    grant_expires_at: datetime | None = None
    refusal: Finding | None = None
    object_there: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether everything could be found out."""
        return self.account_known and self.object_there is not None


def problems_before_due(readiness: Readiness, *, due_at: datetime) -> list[Finding]:
    """Return what would stop a post that is due then."""
    findings: list[Finding] = []
    if readiness.account_gone:
        findings.append(Finding(ACCOUNT_FIELD, "account_not_found", "The TikTok account is not connected any more."))
    if readiness.grant_expires_at is not None and readiness.grant_expires_at <= due_at:
        findings.append(
            Finding(
                ACCOUNT_FIELD,
                "grant_ends_before_due",
                "TikTok's permission for this account ends before the post is due.",
                "Connect the account again before that.",
            )
        )
    if readiness.refusal is not None:
        findings.append(readiness.refusal)
    if readiness.object_there is False:
        findings.append(
            Finding(
                "media_id",
                "media_lost",
                "The file's bytes are not in the storage any more.",
                "Upload it again and give the post its new media_id.",
            )
        )
    return findings
