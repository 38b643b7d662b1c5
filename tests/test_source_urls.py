"""Videos at an address, through the whole system: fetched, published once, and nothing of the address told."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from common.testing.canaries import Canaries
from common.testing.file_host import Act
from system.hosting import hosting
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for
from system.written import Written

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def _status(operator: Operator, post: str) -> dict[str, Any]:
    answer: dict[str, Any] = operator.user.get(f"/api/v1/posts/{post}/status").json()
    return answer


def _steps(operator: Operator, post: str) -> dict[str, str]:
    planning = operator.user.get(f"/api/v1/posts/{post}/detail").json()["planning"]
    return {step["step"]: step["status"] for step in planning}


def test_a_replica_dies_while_it_fetches(operator: Operator, tmp_path: Path) -> None:
    video, secret = make_small_video(tmp_path / "video.mp4"), secrets.token_urlsafe(24)
    content = video.path.read_bytes()
    storage = Path(operator.stack.env("publisher")["STORAGE_URL"].removeprefix("file://"))
    half = Act(content, etag='"1"', stop_after=len(content) // 2)
    with hosting() as server:
        account, creator = operator.account()
        url = server.host.put("/video.mp4", half, Act(content, etag='"1"'))
        post = operator.schedule(account, None, source_url=f"{url}?signature={secret}")
        started = operator.wait_event(post, "publisher.publish.started")
        fetched = wait_for("bytes of the video", lambda: (_status(operator, post)["fetch"] or {}).get("fetched_bytes"))
        status = _status(operator, post)
        assert (status["status"], status["next_step"]) == ("publishing", "fetch")
        assert (0 < fetched <= len(content) // 2, status["fetch"]["total_bytes"]) == (True, len(content))
        assert (_steps(operator, post)["fetch"], _steps(operator, post)["upload"]) == ("active", "pending")
        operator.kill_replica_of(started)
        assert operator.wait_final(post) == "published"
        assert {asked.path for asked in server.host.asked} == {f"/video.mp4?signature={secret}"}
    assert [item["sha256"] for item in operator.publications(creator)] == [video.sha256]
    assert len(operator.ledger(creator)) == 1
    assert _steps(operator, post)["fetch"] == "done"
    assert operator.user.post(post)["source_url"].endswith(secret)
    wait_for("the fetched file to be gone", lambda: not _whole_files(storage), timeout=90)
    _is_told_nowhere(operator, secret)


def test_an_address_without_a_file_fails_with_a_hint(operator: Operator) -> None:
    with hosting() as server:
        account, creator = operator.account()
        post = operator.schedule(account, None, source_url=server.host.put("/gone.mp4", Act(status=410)))
        assert operator.wait_final(post) == "failed"
    failed = operator.user.post(post)
    assert (failed["error_code"], bool(failed["error_hint"]), failed["retry_count"]) == ("source_not_found", True, 0)
    assert _steps(operator, post)["fetch"] == "failed"
    assert operator.ledger(creator) == []


def _whole_files(storage: Path) -> list[str]:
    """Return the fetched files; what a killed process has left of one goes an hour later."""
    return [path.name for path in (storage / "fetched").glob("*") if "#" not in path.name]


def _is_told_nowhere(operator: Operator, secret: str) -> None:
    """Check that what follows the `?` is known to the scheduler alone, which shows it to the post's owner."""
    canaries, written = Canaries(), Written(operator.stack)
    canaries.add("signature", secret)
    assert canaries.in_files(written.logs()) == {}
    assert canaries.in_bytes(operator.events.recorded()) == set()
    assert {service for service, rows in written.databases().items() if canaries.in_bytes(rows)} == {"scheduler"}
