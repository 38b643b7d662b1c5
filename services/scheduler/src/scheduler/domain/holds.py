"""Why a post waits for its account, in words: code, sentence for people, hint what to do."""

from dataclasses import dataclass

from scheduler.domain.finding import Finding

ACCOUNT_FIELD = "tiktok_account_id"


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason to wait; `too_late` is the sentence of a post whose deadline passed meanwhile."""

    code: str
    message: str
    hint: str
    too_late: str

    def warning(self) -> Finding:
        """Return it as the warning that a held post carries."""
        return Finding(ACCOUNT_FIELD, self.code, f"{self.message} The post waits.", self.hint)


PAUSED = Hold(
    "account_paused",
    "The TikTok account is paused.",
    "Set the account to active; the post then goes on, until its publish_before time.",
    "The TikTok account was paused until the post's publish_before time had passed.",
)
EXPIRED = Hold(
    "account_expired",
    "TikTok's permission for this account has ended.",
    "Connect the account again; the post then goes on, until its publish_before time.",
    "TikTok's permission for the account was missing until the post's publish_before time had passed.",
)
HOLDS = {hold.code: hold for hold in (PAUSED, EXPIRED)}


def hold_of(code: str | None) -> Hold:
    """Return the reason of a held post."""
    return HOLDS.get(code or "", PAUSED)
