"""What a client is told when TikTok refuses, is away, or was not asked in time. No token and no code is ever in it."""

from math import ceil

from common.errors import Problem
from tiktok.display import USER_FIELDS
from tiktok.errors import GrantInvalid, ScopeMissing, TikTokError, TikTokRateLimited, TikTokUnavailable, TokenInvalid

RETRY_AFTER_SECONDS = 10


def tiktok_away(*, status: int = 502, detail: str = "TikTok does not answer at the moment.") -> Problem:
    """Return `tiktok_unavailable`."""
    return Problem(
        status,
        "tiktok_unavailable",
        detail,
        hint=f"Try again in {RETRY_AFTER_SECONDS} seconds.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def not_read_in_time() -> Problem:
    """Return `not_read_in_time`: a batch ended before it had an account's answer, which says nothing about TikTok."""
    return Problem(
        503,
        "not_read_in_time",
        "The time for this batch was over before the account was read: sync it again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def exchange_problem(error: TikTokError) -> Problem:
    """Return what a person is told whose authorization code could not be exchanged."""
    if isinstance(error, GrantInvalid):
        return Problem(
            400,
            "code_expired",
            "TikTok no longer accepts this authorization: it is too old or was used before.",
            hint="Start connecting again.",
        )
    return call_problem(error, configuration_hint=True)


def profile_problem(error: TikTokError, scopes: tuple[str, ...]) -> Problem:
    """Return what a person is told whose profile could not be read with a new grant of these scopes.

    TikTok does not say which scope it means, so `profile_not_authorized` names those that open the fields that were asked for.
    """
    if not isinstance(error, ScopeMissing):
        return call_problem(error, configuration_hint=True)
    asked = [scope for scope in USER_FIELDS if scope in scopes]
    return Problem(
        400,
        "profile_not_authorized",
        f"TikTok does not show the profile, although these rights were granted: {', '.join(asked)}.",
        hint="Start connecting again; if that does not help, the operator should check that TikTok has approved the app for them.",
        extra={"refused_scopes": asked},
    )


def missing_scope(scopes: tuple[str, ...]) -> Problem:
    """Return 400 `missing_scope`."""
    names = ", ".join(scopes)
    return Problem(
        400,
        "missing_scope",
        f"Posting needs rights that were not granted: {names}.",
        hint="Start connecting again and leave every right ticked on TikTok's page.",
        extra={"missing_scopes": list(scopes)},
    )


def denied(error: str, error_type: str | None) -> Problem:
    """Return why TikTok sent the browser back without an authorization."""
    if error == "access_denied" and error_type == "non_sandbox_target":
        return Problem(
            400,
            "authorization_denied",
            "TikTok lets only this app's sandbox test users connect.",
            hint="Add the TikTok account to the app's sandbox in TikTok's developer portal.",
        )
    if error == "access_denied":
        return Problem(
            400,
            "authorization_denied",
            "The TikTok account was not connected: consent was denied.",
            hint="Start connecting again and accept on TikTok's page.",
        )
    return Problem(
        400,
        "authorization_failed",
        "TikTok refused the authorization.",
        hint="Check the app's settings in TikTok's developer portal, then start connecting again.",
        extra={"tiktok_error": _short(error)},
    )


def call_problem(error: TikTokError, *, configuration_hint: bool = False) -> Problem:
    """Return the problem of a failed call: 502 when TikTok is away, 503 when it asks to wait, 409 when it refused."""
    if isinstance(error, TikTokRateLimited):
        seconds = max(1, ceil(error.retry_after))
        return Problem(
            503,
            "tiktok_rate_limit_exceeded",
            "TikTok asks to wait before the next call.",
            hint=f"Try again in {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )
    if isinstance(error, TikTokUnavailable | TokenInvalid):
        return tiktok_away()
    if isinstance(error, ScopeMissing):
        return Problem(
            409,
            "missing_scope",
            "The TikTok account does not grant a right that this needs.",
            hint="Connect the account again and leave every right ticked on TikTok's page.",
        )
    if configuration_hint:
        return Problem(
            502,
            "tiktok_refused",
            "TikTok refused this app's request.",
            hint="The operator should check TIKTOK_CLIENT_KEY, TIKTOK_CLIENT_SECRET and TIKTOK_REDIRECT_URI.",
            extra={"tiktok_error": _short(error.code)},
        )
    return Problem(409, f"tiktok_{_short(error.code)}", error.failure.message, hint=error.failure.hint)


def _short(code: str) -> str:
    return "".join(character for character in code if character.isalnum() or character in "_-.")[:64]
