"""The publisher is killed (SIGKILL) at the worst moments; each post still ends in exactly one publication."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.video import Video, make_video
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

INIT = "/v2/post/publish/video/init/"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Video]:
    path: Path = tmp_path_factory.mktemp("video") / "big.mp4"
    yield make_video(path)
    path.unlink()


@pytest.mark.parametrize(
    ("moment", "endpoint", "fault"),
    [
        ("between init and its stored answer", INIT, {"delay": 20}),
        ("in the middle of a chunk", "upload", {"delay": 20, "skip": 3}),
        ("after the last chunk, its answer lost", "upload", {"delay": 20, "skip": -1}),
    ],
)
def test_killed(operator: Operator, video: Video, moment: str, endpoint: str, fault: dict[str, int]) -> None:
    account, creator = operator.account()
    media = operator.media(video.path)
    last = video.size_bytes // 10_000_000 - 1
    skip = last if fault.get("skip") == -1 else fault.get("skip", 0)
    operator.fault(endpoint, times=1, skip=skip, delay=fault["delay"], open_id=creator.open_id)
    post = operator.schedule(account, media)
    started = operator.wait_event(post, "publisher.publish.started")
    wait_for("the fault's moment", lambda: not operator.faults_left())
    killed = operator.kill_replica_of(started)
    assert operator.wait_final(post) == "published", moment
    assert [item["sha256"] for item in operator.publications(creator)] == [video.sha256], killed
    abandoned = [item for item in operator.ledger(creator) if item["sha256"] is None]
    assert all(item["bytes"] == 0 for item in abandoned)
