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
    end = check(privacy_level=privacy, privacy_options=OPTIONS, duration_ms=duration_ms, max_duration_seconds=60)
    assert (end.reason.code if end is not None else None) == code


def test_polls_grow_to_a_minute() -> None:
    waits = [poll_wait(polls) for polls in range(20)]
    assert waits == sorted(waits)
    assert waits[-1] == 60.0
