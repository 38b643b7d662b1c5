"""What is said when an account cannot be used."""

from common.errors import Problem


def account_not_found() -> Problem:
    """Return 404 `account_not_found`, the same for one that is not there and another user's."""
    return Problem(404, "account_not_found", "There is no such TikTok account.")


def account_expired() -> Problem:
    """Return 409 `account_expired`."""
    return Problem(
        409,
        "account_expired",
        "TikTok no longer lets Cuepost act for this account.",
        hint="Connect the account again.",
    )
