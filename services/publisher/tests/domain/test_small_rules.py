"""Preflight and waits."""

import pytest

from publisher.domain.backoff import poll_wait
from publisher.domain.preflight import check

OPTIONS = ("PUBLIC_TO_EVERYONE", "SELF_ONLY")


@pytest.mark.parametrize(
    ("privacy", "duration_ms", "code"),
    [
        ("SELF_ONLY", 60_000, None),
        ("SELF_ONLY", None, None),
        ("SELF_ONLY", 60_001, "tiktok_duration_check_failed"),
        ("FOLLOWER_OF_CREATOR", 1, "tiktok_privacy_level_option_mismatch"),
        (None, 1, "tiktok_privacy_level_option_mismatch"),
    ],
)
def test_preflight(privacy: str | None, duration_ms: int | None, code: str | None) -> None:
    end = check(
        privacy_level=privacy, privacy_options=OPTIONS, duration_ms=duration_ms, max_duration_seconds=60, is_branded=False
    )
    assert (end.reason.code if end is not None else None) == code


@pytest.mark.parametrize(
    ("privacy", "is_branded", "is_refused"),
    [("SELF_ONLY", True, True), ("SELF_ONLY", False, False), ("PUBLIC_TO_EVERYONE", True, False)],
)
def test_branded_content_is_never_sent_privately(privacy: str, is_branded: bool, is_refused: bool) -> None:
    """As sandbox mode would, whatever was asked for."""
    end = check(privacy_level=privacy, privacy_options=OPTIONS, duration_ms=1, max_duration_seconds=60, is_branded=is_branded)
    assert (end is not None) is is_refused
    if end is not None:
        assert (end.reason.code, end.retryable) == ("branded_content_must_be_public", False)


def test_polls_grow_to_a_minute() -> None:
    waits = [poll_wait(polls) for polls in range(20)]
    assert waits == sorted(waits)
    assert waits[-1] == 60.0
