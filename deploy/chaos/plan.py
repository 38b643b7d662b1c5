"""What a storm does, decided by its seed alone: ways of publishing, faults of every endpoint, deaths by number of events. Pure."""

import random
from dataclasses import dataclass
from typing import Any

from chaos.site import Mode

CALLS = (
    "/v2/post/publish/video/init/",
    "/v2/post/publish/inbox/video/init/",
    "/v2/post/publish/content/init/",
    "/v2/post/publish/creator_info/query/",
    "/v2/post/publish/status/fetch/",
    "/v2/video/list/",
    "/v2/video/query/",
    "/v2/user/info/",
)
TOKEN = "/v2/oauth/token/"  # noqa: S105 - a path
POINTS = (
    "after_fetch",
    "after_fetch_stored",
    "after_init_intent",
    "after_init_answer",
    "before_chunk:0",
    "mid_chunk:0",
    "after_last_chunk",
    "while_polling",
)
_OF_CALLS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503},
    {"status": 429, "code": "rate_limit_exceeded"},
    {"status": 401, "code": "access_token_invalid"},
    {"drop": True},
    {"lost_answer": True},
    {"delay": 2, "delay_at": "request"},
    {"delay": 2, "delay_at": "answer"},
)
_OF_UPLOADS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503},
    {"drop": True, "delay_at": "body"},
    {"lost_answer": True},
    {"delay": 3, "delay_at": "body"},
    {"delay": 3, "delay_at": "answer"},
)
_OF_PROCESSING: tuple[dict[str, Any], ...] = (
    {"fail_reason": "internal"},
    {"fail_reason": "frame_rate_check_failed"},
    {"fail_reason": "picture_size_check_failed"},
    {"stuck": True},
    {"hide_post_id": True},
    {"moderation": 4},
)
_OF_WEBHOOKS: tuple[dict[str, Any], ...] = ({"duplicate": True}, {"reorder": True}, {"drop": True}, {"delay": 4})
_OF_DOWNLOADS: tuple[dict[str, Any], ...] = ({"drop": True}, {"delay": 3})
_REFUSAL = {"endpoint": CALLS[0], "status": 403, "code": "spam_risk_user_banned_from_posting"}
_MODES = {Mode.FILE: 60, Mode.SOURCE: 14, Mode.PULL: 11, Mode.PHOTO: 10, Mode.INBOX: 5}
_OTHERS = {"scheduler": 4, "accounts": 2, "gateway": 2, "analytics": 1, "rabbitmq": 1, "postgres": 1}


@dataclass(frozen=True)
class Death:
    """`events` of publishers after the death before it: SIGKILL of `program` (empty: of who told last), or a crash point armed."""

    events: int
    program: str = ""
    point: str = ""

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"at {self.point}" if self.point else (self.program or "the replica at work")


@dataclass(frozen=True)
class Plan:
    """`posts` are (account, way, seconds until due), `faults` (account or None for all, order)."""

    posts: tuple[tuple[int, Mode, float], ...]
    faults: tuple[tuple[int | None, dict[str, Any]], ...]
    deaths: tuple[Death, ...]


def plan(seed: int, *, posts: int, accounts: int, kills: int, spread: float, brief: bool = False) -> Plan:
    """Return what the storm of this seed does; `spread` are the seconds over which posts come due.

    `brief` leaves out what is waited for: a minute after a rate limit, and posts with which TikTok never comes to an end.
    """
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    modes = dice.choices(list(_MODES), weights=list(_MODES.values()), k=posts)
    ordered = tuple((number % accounts, mode, dice.uniform(0.0, spread)) for number, mode in enumerate(modes))
    faults: list[tuple[int | None, dict[str, Any]]] = [
        (account, fault) for account in range(accounts) for fault in _of_account(dice)
    ]
    faults += [(None, {"endpoint": TOKEN, "times": 2, **fault}) for fault in ({"status": 500}, {"drop": True})]
    faults += [(account, dict(_REFUSAL)) for account in dice.sample(range(accounts), k=max(1, accounts // 10))]
    faults = [(account, fault) for account, fault in faults if not brief or not _is_long(fault)]
    dice.shuffle(faults)
    # A post tells of itself three times or more: deaths within the first two of them meet work under way.
    pause = max(1, 2 * posts // max(1, kills))
    return Plan(ordered, tuple(faults), tuple(_death(dice, dice.randint(1, pause)) for _ in range(kills)))


def _is_long(fault: dict[str, Any]) -> bool:
    return "stuck" in fault or fault.get("status") == 429


def _of_account(dice: random.Random) -> list[dict[str, Any]]:
    """Return an account's faults: some calls, an upload, and one of what TikTok does by itself."""
    chosen = [{"endpoint": dice.choice(CALLS), **dice.choice(_OF_CALLS)} for _ in range(4)]
    chosen += [{"endpoint": "upload", **dice.choice(_OF_UPLOADS)} for _ in range(2)]
    chosen.append({"endpoint": "processing", **dice.choice(_OF_PROCESSING)})
    chosen.append({"endpoint": "webhook", **dice.choice(_OF_WEBHOOKS)})
    chosen.append({"endpoint": "download", **dice.choice(_OF_DOWNLOADS)})
    return [{**fault, "skip": dice.randrange(4), "times": dice.choice((1, 1, 2))} for fault in chosen]


def _death(dice: random.Random, events: int) -> Death:
    kind = dice.random()
    if kind < 0.45:
        return Death(events)
    if kind < 0.75:
        return Death(events, point=dice.choice(POINTS))
    return Death(events, program=dice.choices(list(_OTHERS), weights=list(_OTHERS.values()))[0])
