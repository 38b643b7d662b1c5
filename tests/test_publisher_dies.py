"""The publisher is killed (SIGKILL) at the worst moments; each post still ends in exactly one publication."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from demo.video import Video, make_video
from system.operator import Operator
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

INIT = "/v2/post/publish/video/init/"
CHUNK = 10_000_000


@dataclass(frozen=True)
class Moment:
    """A moment to kill at: the simulator's fault that stretches it, and how the ledger shows that it has come."""

    fault: Callable[[Video], dict[str, Any]]
    has_come: Callable[[list[dict[str, Any]]], bool]
    abandoned_inits: int = 0


def _last_chunk(video: Video) -> int:
    return video.size_bytes // CHUNK - 1


MOMENTS = {
    "between init and its stored answer": Moment(
        fault=lambda _: {"endpoint": INIT, "delay": 60},
        has_come=lambda ledger: len(ledger) == 1,
        abandoned_inits=1,
    ),
    "in the middle of the first chunk": Moment(
        fault=lambda _: {"endpoint": "upload", "delay": 60},
        has_come=lambda ledger: any(item["receiving"] > 0 for item in ledger),
    ),
    "in the middle of a later chunk": Moment(
        fault=lambda _: {"endpoint": "upload", "delay": 60, "skip": 3},
        has_come=lambda ledger: any(item["receiving"] > 0 and item["bytes"] == 3 * CHUNK for item in ledger),
    ),
    "between two chunks": Moment(
        fault=lambda _: {"endpoint": "upload", "delay": 60, "delay_at": "answer", "skip": 2},
        has_come=lambda ledger: any(item["bytes"] == 3 * CHUNK for item in ledger),
    ),
    "after the last chunk": Moment(
        fault=lambda video: {"endpoint": "upload", "delay": 60, "delay_at": "answer", "skip": _last_chunk(video)},
        has_come=lambda ledger: any(item["sha256"] is not None for item in ledger),
    ),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return make_video(tmp_path_factory.mktemp("video") / "big.mp4")


@pytest.mark.parametrize("name", MOMENTS)
def test_killed(operator: Operator, video: Video, name: str) -> None:
    moment = MOMENTS[name]
    account, creator = operator.account()
    media = operator.media(video.path)
    operator.fault(**moment.fault(video), open_id=creator.open_id)
    post = operator.schedule(account, media)
    started = operator.wait_event(post, "publisher.publish.started")
    wait_for(name, lambda: moment.has_come(operator.ledger(creator)), interval=0.01)
    assert operator.status(post) not in {"published", "failed", "unconfirmed"}
    operator.kill_replica_of(started)
    assert operator.wait_final(post) == "published"
    ledger = operator.ledger(creator)
    assert [item["sha256"] for item in ledger if item["sha256"] is not None] == [video.sha256]
    assert [item["sha256"] for item in operator.publications(creator)] == [video.sha256]
    assert len(ledger) == 1 + moment.abandoned_inits
    assert all(item["bytes"] == 0 for item in ledger if item["sha256"] is None)
