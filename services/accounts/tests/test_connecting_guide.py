"""The table of problems in docs/authentication.md says what the code says."""

import re
from pathlib import Path

from starlette.requests import Request

from accounts.api.connect_cookie import new_state, require_same_browser
from accounts.api.tiktok import _code_missing, _return_url_not_allowed
from accounts.clients.tiktok_problems import (
    call_problem,
    denied,
    exchange_problem,
    missing_scope,
    profile_problem,
    tiktok_away,
)
from accounts.connecting import not_stored
from accounts.usecases.connect_account import _disconnecting, owned_by_another_user
from accounts.usecases.finish_connecting import invalid_state
from common.errors import Problem
from tiktok.errors import GrantInvalid, ScopeMissing, TikTokRateLimited, TikTokRefused

GUIDE = Path(__file__).parents[3] / "docs" / "authentication.md"


def table() -> dict[str, tuple[int, str]]:
    """Return status and hint by code, as the guide has them."""
    text = GUIDE.read_text().partition("<!-- connecting problems -->")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    return {code: (int(status), hint) for code, status, hint in rows}


def other_browser() -> Problem:
    try:
        require_same_browser(Request({"type": "http", "headers": []}), new_state(browser=True))
    except Problem as problem:
        return problem
    raise AssertionError("let in without its cookie")


def test_the_guide_has_every_problem_of_connecting() -> None:
    problems = [
        _return_url_not_allowed(),
        invalid_state(),
        other_browser(),
        denied("access_denied", None),
        denied("server_error", None),
        _code_missing(),
        exchange_problem(GrantInvalid("invalid_grant")),
        missing_scope(("video.publish",)),
        profile_problem(ScopeMissing("scope_not_authorized"), ("user.info.profile",)),
        owned_by_another_user(),
        _disconnecting(),
        exchange_problem(TikTokRefused("invalid_client")),
        tiktok_away(),
        not_stored(),
        call_problem(TikTokRateLimited("rate_limit_exceeded", retry_after=60)),
    ]
    assert {problem.code: (problem.status, problem.hint) for problem in problems} == table()
