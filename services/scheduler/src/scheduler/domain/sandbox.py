"""Sandbox mode: what goes out as SELF_ONLY whatever was asked says so in the post's warnings; branded content cannot go out."""

from collections.abc import Sequence
from typing import Any

from scheduler.domain.finding import Finding
from scheduler.domain.post_rules import SELF_ONLY, branded_content_must_be_public

SANDBOX_MODE = "sandbox_mode"
_FIELD = "privacy_level"
_HINT = "The operator may switch TIKTOK_SANDBOX_MODE off once TikTok has approved the app."


def sandbox_warning(privacy_level: str | None, mode: str) -> Finding | None:
    """Return the warning of a post that is to go out in sandbox mode; None when nothing is changed about it."""
    if mode != "direct" or privacy_level in {None, SELF_ONLY}:
        return None
    return Finding(_FIELD, SANDBOX_MODE, "Cuepost runs in sandbox mode: the post will be visible to its creator only.", _HINT)


def check_sandbox(privacy_level: str | None, mode: str, *, is_branded: bool) -> Finding | None:
    """Return what is wrong with a post of branded content in sandbox mode; one that asks for SELF_ONLY breaks that rule anyway."""
    if not is_branded or sandbox_warning(privacy_level, mode) is None:
        return None
    return branded_content_must_be_public(
        "Cuepost runs in sandbox mode, in which every post is: switch brand_content_toggle off, or wait for the operator."
    )


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
