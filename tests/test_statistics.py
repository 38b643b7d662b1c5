"""Statistics through the whole system: what was published is counted, what TikTok tells of an account is shown."""

from pathlib import Path
from typing import Any

import pytest

from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

FOLLOWERS = 12_800
"""Of a creator as `operator.account` makes one."""


def test_what_is_published_is_counted_and_accounts_have_their_figures(operator: Operator, tmp_path: Path) -> None:
    account, _ = operator.account()
    make_small_video(tmp_path / "video.mp4")
    post = operator.schedule(account, operator.media(tmp_path / "video.mp4"))
    assert operator.wait_final(post) == "published"
    overview = wait_for("the overview", lambda: (found := read(operator, "overview"))["posts"]["published"] and found)
    assert {state: number for state, number in overview["posts"].items() if number} == {"published": 1}
    assert overview["success_rate"] == 1.0
    assert overview["failures"] == []
    lateness = overview["lateness_ms"]
    assert 0 <= lateness["p50"] == lateness["p99"] == lateness["max"]
    stats = wait_for("the figures", lambda: (found := read(operator, f"accounts/{account}/stats"))["collected_at"] and found)
    assert stats["follower_count"] == FOLLOWERS
    assert stats["change"] == {"1d": None, "7d": None, "30d": None}
    points = read(operator, f"accounts/{account}/history?interval=hour")["points"]
    assert [point["follower_count"] for point in points] == [FOLLOWERS] * len(points)
    assert points
    video = wait_for("the video's id", lambda: read(operator, f"posts/{post}")["tiktok_video_id"])
    assert video == operator.user.post(post)["tiktok_video_id"]
    (_, row) = operator.user.get("/api/v1/analytics/export").text.splitlines()
    assert row.startswith(f"{post},{account},published,")


def read(operator: Operator, path: str) -> dict[str, Any]:
    answer = operator.user.get(f"/api/v1/analytics/{path}")
    # Both are known a moment after they were made.
    if answer.status_code == 404:
        return {"collected_at": None}
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
