"""What a storm does, decided by its seed alone: ways of publishing, faults of every endpoint, deaths by number of events. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaos.site import Mode
from tiktok_simulator.faults import DOWNLOAD, PROCESSING, UPLOAD_FAULT, WEBHOOK
from tiktok_simulator.paths import (
    API_PATHS,
    AUTHORIZE,
    CANCEL,
    CONTENT_INIT,
    CREATOR_INFO,
    INBOX_INIT,
    REVOKE,
    STATUS_FETCH,
    TOKEN,
    USER_INFO,
    VIDEO_INIT,
)

VISITORS_CALLS = (AUTHORIZE, TOKEN, REVOKE, USER_INFO, CANCEL)
"""What is called when somebody connects an account, stops a post or leaves; the token endpoint by the others too."""
CALLS = tuple(path for path in API_PATHS if path not in VISITORS_CALLS)
_OFTEN_CALLED = frozenset({VIDEO_INIT, CREATOR_INFO, STATUS_FETCH})
SERVERS = ("rabbitmq", "postgres")
_INIT_OF = {Mode.INBOX: INBOX_INIT, Mode.PHOTO: CONTENT_INIT}
"""Inits of ways of publishing that not every account uses."""
_KILLS_WITH_SERVERS = 2 * len(SERVERS)
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
_OF_SIGN_INS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503},
    {"drop": True},
    {"lost_answer": True},
    {"delay": 2, "delay_at": "request"},
    {"delay": 2, "delay_at": "answer"},
)
_SLOW_FETCH = {"endpoint": DOWNLOAD, "delay": 10}
"""Long enough for somebody to want the post stopped meanwhile."""
_REFUSAL = {"endpoint": VIDEO_INIT, "status": 403, "code": "spam_risk_user_banned_from_posting"}
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
    """`posts` are (account, way, seconds until due), `faults` (account or visitor, order).

    Accounts are numbered from 0; after them come the visitors, who connect, stop a post and leave while the storm goes on.
    """

    posts: tuple[tuple[int, Mode, float], ...]
    faults: tuple[tuple[int, dict[str, Any]], ...]
    deaths: tuple[Death, ...]
    accounts: int
    visitors: int


def plan(seed: int, *, posts: int, accounts: int, kills: int, spread: float, brief: bool = False) -> Plan:
    """Return what the storm of this seed does; `spread` are the seconds over which posts come due.

    Every endpoint of TikTok's gets a fault, and RabbitMQ and PostgreSQL die (with four deaths or more) while posts are under way.
    `brief` leaves out what is waited for: a minute after a refusal, and posts with which TikTok never comes to an end.
    """
    dice = random.Random(seed)  # noqa: S311 - not for secrets
    modes = _modes(dice, posts)
    ordered = tuple((number % accounts, mode, dice.uniform(0.0, spread)) for number, mode in enumerate(modes))
    visitors = max(1, accounts // 5)
    faults = [(account, fault) for account, calls in enumerate(_dealt(dice, accounts)) for fault in _of_account(dice, calls)]
    faults += [(accounts + number, fault) for number in range(visitors) for fault in _of_visitor(dice)]
    for mode, call in _INIT_OF.items():
        users = sorted({account for account, used, _ in ordered if used is mode})
        faults += [
            (account, {"endpoint": call, **dice.choice(_OF_CALLS)}) for account in dice.sample(users, k=min(1, len(users)))
        ]
    if not brief:
        faults += [(account, dict(_REFUSAL)) for account in dice.sample(range(accounts), k=max(1, accounts // 10))]
    faults = [(account, _shortened(fault) if brief else fault) for account, fault in faults]
    dice.shuffle(faults)
    return Plan(ordered, tuple(faults), _deaths(dice, posts, kills), accounts, visitors)


def _modes(dice: random.Random, posts: int) -> list[Mode]:
    """Return the way of publishing of each post: all of them are there, if there are posts enough."""
    surely = dice.sample(list(_MODES), k=min(posts, len(_MODES)))
    modes = surely + dice.choices(list(_MODES), weights=list(_MODES.values()), k=posts - len(surely))
    dice.shuffle(modes)
    return modes


def _dealt(dice: random.Random, accounts: int) -> list[Sequence[str]]:
    """Deal the calls out to the accounts, four each or more, so that every call is somebody's."""
    each = max(4, -(-len(CALLS) // accounts))
    deck = [call for _ in range(-(-each * accounts // len(CALLS))) for call in dice.sample(CALLS, k=len(CALLS))]
    return [deck[number * each : (number + 1) * each] for number in range(accounts)]


def _of_account(dice: random.Random, calls: Sequence[str]) -> list[dict[str, Any]]:
    """Return an account's faults: its calls, a token, uploads, and one each of what TikTok does by itself."""
    chosen = [
        {"endpoint": call, **dice.choice(_OF_CALLS), "skip": dice.randrange(4) if call in _OFTEN_CALLED else 0}
        for call in calls
    ]
    chosen.append({"endpoint": TOKEN, **dice.choice(_OF_SIGN_INS)})
    chosen += [{"endpoint": UPLOAD_FAULT, **dice.choice(_OF_UPLOADS), "skip": dice.randrange(4)} for _ in range(2)]
    chosen.append({"endpoint": PROCESSING, **dice.choice(_OF_PROCESSING), "skip": dice.randrange(4)})
    chosen.append({"endpoint": WEBHOOK, **dice.choice(_OF_WEBHOOKS), "skip": dice.randrange(4)})
    chosen.append({"endpoint": DOWNLOAD, **dice.choice(_OF_DOWNLOADS)})
    return [{**fault, "times": dice.choice((1, 1, 2))} for fault in chosen]


def _of_visitor(dice: random.Random) -> list[dict[str, Any]]:
    """Return what goes wrong while somebody connects, stops a post that TikTok fetches, and leaves."""
    signing_in = [{"endpoint": call, **dice.choice(_OF_SIGN_INS)} for call in (AUTHORIZE, TOKEN, REVOKE)]
    calls = [{"endpoint": call, **dice.choice(_OF_CALLS)} for call in (USER_INFO, CANCEL)]
    return [*signing_in, *calls, dict(_SLOW_FETCH)]


def _shortened(fault: dict[str, Any]) -> dict[str, Any]:
    """Return the fault, or one without a long wait in its stead."""
    if fault.get("status") == 429:
        return {key: value for key, value in fault.items() if key != "code"} | {"status": 503}
    if "stuck" in fault:
        return {key: value for key, value in fault.items() if key != "stuck"} | {"moderation": 4}
    return fault


def _deaths(dice: random.Random, posts: int, kills: int) -> tuple[Death, ...]:
    # A post tells of itself three times or more: deaths within the first two of them meet work under way.
    pause = max(1, 2 * posts // max(1, kills))
    deaths = [_death(dice, dice.randint(1, pause)) for _ in range(kills)]
    if kills >= _KILLS_WITH_SERVERS:
        # In the first half: the later ones come only if enough is told until then.
        for program, place in zip(SERVERS, dice.sample(range(kills // 2), k=len(SERVERS)), strict=True):
            deaths[place] = Death(deaths[place].events, program=program)
    return tuple(deaths)


def _death(dice: random.Random, events: int) -> Death:
    kind = dice.random()
    if kind < 0.45:
        return Death(events)
    if kind < 0.75:
        return Death(events, point=dice.choice(POINTS))
    return Death(events, program=dice.choices(list(_OTHERS), weights=list(_OTHERS.values()))[0])
