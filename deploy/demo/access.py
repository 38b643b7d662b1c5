"""Keys for programs and sessions, shown to end at once when they are ended."""

import time
from http import HTTPStatus

from demo import report
from demo.api import Cuepost
from demo.errors import DemoError

POSTS = "/api/v1/posts"
"""Of the scheduler: accounts would refuse what it has ended by itself, though the gateway still let it in."""
ENDS_WITHIN_S = 1.0
_LOOK_EVERY_S = 0.01


def show_access(cuepost: Cuepost) -> None:
    """Make, use and revoke an API key; log in and out: either is refused within a second. Raises DemoError otherwise."""
    made = cuepost.make_key("demo", ["posts:read"])
    _require(cuepost.status_for(made["key"], POSTS), HTTPStatus.OK)
    cuepost.revoke_key(made["id"])
    report.step(f"made API key {made['prefix']}..., used it: 200; revoked it: 401 {_refused(cuepost, made['key'])}")
    token = cuepost.log_in()
    _require(cuepost.status_for(token, POSTS), HTTPStatus.OK)
    cuepost.log_out(token)
    report.step(f"logged in again: 200; logged out: 401 {_refused(cuepost, token)}")


def _refused(cuepost: Cuepost, token: str) -> str:
    """Return after how long a token that was ended is refused."""
    began = asked = time.monotonic()
    while (status := cuepost.status_for(token, POSTS)) != HTTPStatus.UNAUTHORIZED:
        _require(status, HTTPStatus.OK)
        if asked - began > ENDS_WITHIN_S:
            raise DemoError(f"what was ended is still let in after {ENDS_WITHIN_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
        asked = time.monotonic()
    return f"after {(time.monotonic() - began) * 1000:.0f} ms"


def _require(status: int, expected: HTTPStatus) -> None:
    if status != expected:
        raise DemoError(f"expected {expected.value}, got {status}")
