"""Sandbox mode: what goes out as SELF_ONLY whatever was asked says so in the post's warnings."""

from collections.abc import Sequence
from typing import Any

from scheduler.domain.finding import Finding

SELF_ONLY = "SELF_ONLY"
SANDBOX_MODE = "sandbox_mode"
_FIELD = "privacy_level"
_HINT = "The operator may switch TIKTOK_SANDBOX_MODE off once TikTok has approved the app."


def sandbox_warning(privacy_level: str | None, mode: str) -> Finding | None:
    """Return the warning of a post that is to go out in sandbox mode; None when nothing is changed about it."""
    if mode != "direct" or privacy_level in {None, SELF_ONLY}:
        return None
    return Finding(_FIELD, SANDBOX_MODE, "Cuepost runs in sandbox mode: the post will be visible to its creator only.", _HINT)


def sent_warning(asked: str | None, sent: str) -> Finding | None:
    """Return the warning of a post that went out with another level than the one asked for."""
    if asked == sent:
        return None
    message = f"The post went out as {sent} instead of {asked}, because Cuepost runs in sandbox mode."
    return Finding(_FIELD, SANDBOX_MODE, message, _HINT)


def with_truth(warnings: Sequence[dict[str, Any]], truth: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the warnings with what really was sent in place of what was expected."""
    kept = [warning for warning in warnings if warning.get("code") != SANDBOX_MODE]
    return kept if truth is None else [*kept, truth]
