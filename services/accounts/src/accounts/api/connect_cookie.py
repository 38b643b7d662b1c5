"""Binding an attempt to connect to the browser that began it: the state lies in a cookie of that browser too.

Without it, whoever begins to connect could pass the address on, and a creator who follows it would connect their TikTok account to
a stranger's user. A state that begins with `b.` is good only with its cookie; the mark cannot be taken off, because only the whole
state's hash is known.
"""

from hmac import compare_digest
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import SecretStr
from starlette.responses import Response

from accounts.security.opaque import hex_digest, new_secret
from common.errors import Problem

BOUND_MARK = "b."
COOKIE_PREFIX = "cuepost_connect_"
_NAME_CHARS = 16


def new_state(*, browser: bool) -> SecretStr:
    """Return a fresh state, marked when it is to be bound to a browser."""
    return new_secret(BOUND_MARK if browser else "")


def _name(state: SecretStr) -> str:
    # One cookie per attempt, so that two tabs do not spoil each other's.
    return f"{COOKIE_PREFIX}{hex_digest(state)[:_NAME_CHARS]}"


def bind(response: Response, state: SecretStr, *, redirect_uri: str, life_seconds: int) -> None:
    """Give the browser the cookie; it is sent back to `redirect_uri` only, by https only where that is https."""
    page = urlsplit(redirect_uri)
    response.set_cookie(
        _name(state),
        state.get_secret_value(),
        max_age=life_seconds,
        path=page.path or "/",
        secure=page.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def require_same_browser(request: Request, state: SecretStr) -> None:
    """Raise Problem 400 `other_browser` for a bound state that comes without its cookie."""
    text = state.get_secret_value()
    if not text.startswith(BOUND_MARK):
        return
    if not compare_digest(request.cookies.get(_name(state), "").encode(), text.encode()):
        raise Problem(
            400,
            "other_browser",
            "This connection attempt was begun in another browser.",
            hint="Start connecting in the browser in which you accept on TikTok's page.",
        )


def forget(response: Response, state: SecretStr, *, redirect_uri: str) -> None:
    """Take the cookie back."""
    if state.get_secret_value().startswith(BOUND_MARK):
        response.delete_cookie(_name(state), path=urlsplit(redirect_uri).path or "/")
