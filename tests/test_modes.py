"""The ways of publishing besides a file posted directly, through the whole system."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.api import Creator
from demo.video import Video
from system.folder_host import folder_host
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for
from tiktok_simulator.sample_photo import make_photo

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

INIT = "/v2/post/publish/video/init/"
PHOTOS = [make_photo("jpeg", seed=1), make_photo("webp", seed=2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def video(folder: Path) -> Video:
    return make_small_video(folder / "small.mp4")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Return where the folder is served."""
    with folder_host(folder) as address:
        yield address


def test_a_draft_reaches_the_inbox_and_is_published_when_its_creator_posts_it(operator: Operator, video: Video) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(video.path), mode="inbox", privacy_level=None, caption="")
    assert operator.wait_status(post, "sent_to_inbox")["published_at"] is None
    (draft,) = operator.publications(creator)
    assert (draft["mode"], draft["sha256"], draft["draft"]) == ("inbox", video.sha256, "waiting")
    status = operator.user.get(f"/api/v1/posts/{post}/status").json()
    assert (status["next_step"], status["reason"]["code"]) == ("creator_posts_it", "draft_delivered")
    planning = {item["step"]: item["status"] for item in operator.user.detail(post)["planning"]}
    assert (planning["processing"], planning["published"]) == ("done", "pending")
    video_id = operator.post_draft(draft["publish_id"])
    published = operator.wait_status(post, "published")
    assert published["tiktok_video_id"] == video_id
    assert published["published_at"] is not None
    assert len(operator.ledger(creator)) == 1
    actions = wait_for("the audit trail", lambda: (told := _actions(operator, post)) and "post.published" in told and told)
    assert actions.index("post.published") < actions.index("post.sent_to_inbox")


def test_a_video_that_tiktok_fetches_is_published_once(operator: Operator, video: Video, address: str) -> None:
    account, creator = operator.account()
    post = pull(operator, account, address)
    assert operator.wait_final(post) == "published"
    (item,) = operator.ledger(creator)
    assert (item["source"], item["sha256"]) == ("PULL_FROM_URL", video.sha256)
    assert operator.user.post(post)["publish_id"] == item["publish_id"]


def test_a_publisher_killed_during_the_init_of_a_fetch_leaves_it_unconfirmed(
    operator: Operator, video: Video, address: str
) -> None:
    account, creator = operator.account()
    operator.fault(INIT, delay=60, delay_at="answer", open_id=creator.open_id)
    post = pull(operator, account, address)
    started = operator.wait_event(post, "publisher.publish.started")
    wait_for("the init", lambda: operator.ledger(creator))
    operator.kill_replica_of(started)
    told = operator.wait_event(post, "publisher.publish.unconfirmed")["data"]
    assert (told["code"], told["hint"] is not None) == ("init_outcome_unknown", True)
    assert [item["sha256"] for item in _ended(operator, creator)] == [video.sha256]


def test_a_fetch_under_way_is_given_up_when_a_person_cancels(operator: Operator, video: Video, address: str) -> None:
    account, creator = operator.account()
    operator.fault("download", stuck=True, open_id=creator.open_id)
    post = pull(operator, account, address)
    operator.wait_status(post, "processing")

    def gone() -> bool:
        answer = operator.user.request("DELETE", f"/api/v1/posts/{post}")
        assert answer.status_code == 204 or answer.json()["code"] == "cancel_undecided", answer.text
        return answer.status_code == 204

    wait_for("TikTok's decision", gone)
    assert operator.status(post) == "cancelled"
    (item,) = operator.ledger(creator)
    assert (item["status"], item["fail_reason"], item["sha256"]) == ("FAILED", "publish_cancelled", None)


@pytest.mark.parametrize("mode", ["direct", "inbox"])
def test_photos(operator: Operator, folder: Path, address: str, mode: str) -> None:
    account, creator = operator.account()
    for number, photo in enumerate(PHOTOS):
        (folder / f"{number}.bin").write_bytes(photo)
    urls = [f"{address}/{number}.bin" for number in range(len(PHOTOS))]
    level = "PUBLIC_TO_EVERYONE" if mode == "direct" else None
    options = {"photo_title": "Two of them", "photo_cover_index": 1, "hashtags": ["cuepost"], "privacy_level": level}
    post = operator.schedule(account, None, photo_urls=urls, mode=mode, **options)
    told = operator.wait_status(post, "published" if mode == "direct" else "sent_to_inbox")
    (item,) = operator.publications(creator)
    assert (item["media_type"], item["mode"], item["title"]) == ("photo", mode, "Two of them")
    assert item["description"] == f"{told['caption']} #cuepost"
    assert (item["sha256"], item["options"]["photo_cover_index"]) == (hashlib.sha256(b"".join(PHOTOS)).hexdigest(), 1)
    assert len(operator.ledger(creator)) == 1


def pull(operator: Operator, account: str, address: str) -> str:
    return operator.schedule(account, None, source_url=f"{address}/small.mp4", transfer="pull")


def _ended(operator: Operator, creator: Creator) -> list[dict[str, Any]]:
    def ended() -> list[dict[str, Any]] | None:
        items = operator.ledger(creator)
        return items if all(item["status"] == "PUBLISH_COMPLETE" for item in items) else None

    return wait_for("TikTok's end", ended)


def _actions(operator: Operator, post: str) -> list[str]:
    """Return what was done with a post, the newest first."""
    return [item["action"] for item in operator.user.audit(object_id=post)["items"]]
