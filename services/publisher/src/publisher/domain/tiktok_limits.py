"""TikTok's limits, and what a post is told that has to wait for one."""

from dataclasses import dataclass

from publisher.domain.outcomes import Reason
from publisher.domain.pacing import Limit

MINUTE = 61.0
"""TikTok's minute slides; one second more covers that a call arrives there later than it was counted here."""
DAY = 86_460.0
INIT_GAP_SECONDS = 0.2

INIT = Limit("init", 6, MINUTE, INIT_GAP_SECONDS)
"""All three inits together: whether TikTok counts them apart is not known."""
CREATOR_INFO = Limit("creator_info", 15, MINUTE)
"""Of TikTok's 20: the accounts service asks with the same token, and keeps to the other 5."""
STATUS = Limit("status", 30, MINUTE)
VIDEO_LIST = Limit("video_list", 30, MINUTE)
"""Far below TikTok's 600: whether those are an account's or the app's is not known, and analytics reads the same list."""

UNCOUNTED = 1_000_000
"""More than there ever are."""
FORECAST_AT_MOST = 1000
"""A higher daily cap is not forecast: nobody plans so many posts of a creator for a day."""

TURN = "turn"
"""What a job waits for that has room within the limit and jobs ahead of it."""

_PASSES = "Nothing to do; it goes on by itself."
_SENTENCES = {
    "init": (
        "tiktok_quota",
        f"TikTok lets a creator start {INIT.allowed} posts per minute; earlier posts of this account come first.",
        _PASSES,
    ),
    "creator_info": ("tiktok_quota", "TikTok was asked about this creator as often per minute as it allows.", _PASSES),
    "status": (
        "tiktok_status_quota",
        f"TikTok tells {STATUS.allowed} statuses per minute and creator, and all were asked for.",
        _PASSES,
    ),
    "video_list": ("tiktok_quota", "TikTok was asked for this creator's videos as often per minute as we do.", _PASSES),
    "daily_posts": (
        "tiktok_daily_posts",
        "This account has as many posts within 24 hours as TikTok accepts from apps.",
        "Nothing to do; it goes on when the oldest of them is a day old. Posts made in the TikTok app may count, too.",
    ),
    "pending_drafts": (
        "tiktok_pending_drafts",
        "This account was sent as many drafts within 24 hours as TikTok accepts.",
        "Nothing to do; it goes on when the oldest of them is a day old.",
    ),
    "active_users": (
        "tiktok_active_users",
        "This app has published for as many creators within 24 hours as TikTok lets it.",
        "Nothing to do for the creator; the operator can ask TikTok for a higher cap.",
    ),
}


def wait_reason(limit: Limit) -> Reason:
    """Return what a post is told that waits for this limit."""
    code, message, hint = _SENTENCES[limit.name]
    return Reason(code, message, hint)


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits that are settings; 0 there means: not counted here, TikTok's own refusals are waited out all the same."""

    daily_posts: Limit
    pending_drafts: Limit
    active_users: Limit

    @classmethod
    def of(cls, *, daily_posts: int, pending_drafts: int, active_users: int) -> "Caps":
        """Return the caps of these settings."""
        return cls(
            daily_posts=_cap("daily_posts", daily_posts),
            pending_drafts=_cap("pending_drafts", pending_drafts),
            active_users=_cap("active_users", active_users),
        )

    @property
    def counts_active_users(self) -> bool:
        """Whether the creators of the whole app are counted together; else each learns its own refusal."""
        return self.active_users.allowed < UNCOUNTED

    def of_mode(self, mode: str) -> Limit:
        """Return the daily cap of posts or of drafts."""
        return self.pending_drafts if mode == "inbox" else self.daily_posts


def _cap(name: str, allowed: int) -> Limit:
    return Limit(name, allowed or UNCOUNTED, DAY)
