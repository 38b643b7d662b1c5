"""What became of a post is learnt late, through the whole system: by a look, a webhook, or the creator's videos."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.api import Creator
from demo.video import Video, make_video
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

STATUS = "/v2/post/publish/status/fetch/"
LIST = "/v2/video/list/"
CHUNK = 10_000_000
SUBMITTED = "publisher.publish.submitted"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("video")


@pytest.fixture(scope="module")
def small(folder: Path) -> Video:
    return make_small_video(folder / "small.mp4")


@pytest.fixture(scope="module")
def big(folder: Path) -> Video:
    return make_video(folder / "big.mp4")


def status(operator: Operator, post: str) -> dict[str, Any]:
    answer: dict[str, Any] = operator.user.get(f"/api/v1/posts/{post}/status").json()
    return answer


def lost(operator: Operator, account: str, creator: Creator, video: Video, **more: Any) -> str:
    """Return a post that is live at TikTok, which told nobody for a day: unconfirmed, and not to be looked at by itself soon."""
    operator.fault("webhook", drop=True, times=100, open_id=creator.open_id)
    operator.fault(STATUS, status=400, code="invalid_publish_id", times=100_000, open_id=creator.open_id)
    operator.fault(LIST, status=401, code="scope_not_authorized", times=100_000, open_id=creator.open_id)
    post = operator.schedule(account, operator.media(video.path), **more)
    operator.wait_event(post, SUBMITTED)

    def given_up() -> bool:
        operator.change_jobs(post, "submitted_at = submitted_at - interval '25 hours', run_at = now()")
        return operator.status(post) == "unconfirmed"

    wait_for("the outcome to be given up", given_up, interval=0.5)
    wait_for("TikTok to have published it", lambda: _all_complete(operator, creator))

    def at_rest() -> bool:
        operator.change_jobs(post, "run_at = now() + interval '1 hour'")
        return status(operator, post)["next_step_at"] is not None

    wait_for("it to rest", at_rest)
    operator.clear_faults()
    return post


def _all_complete(operator: Operator, creator: Creator) -> bool:
    return all(item["status"] == "PUBLISH_COMPLETE" for item in operator.publications(creator))


def is_undecided(answer: httpx.Response) -> bool:
    """Whether the look took longer than its patience."""
    return answer.status_code == 503 and answer.json()["code"] == "retry_undecided"


def retried(operator: Operator, post: str, **more: Any) -> httpx.Response:
    """Say that it was not published, until TikTok was asked in time; returns the answer."""

    def decided() -> httpx.Response | None:
        answer = operator.user.retry(post, confirm_not_published=True, **more)
        return None if is_undecided(answer) else answer

    return wait_for("a look in time", decided)


def test_videos_that_may_be_it_are_shown_before_the_word_counts(operator: Operator, small: Video) -> None:
    account, creator = operator.account()
    twins = [lost(operator, account, creator, small, caption="Twins") for _ in range(2)]
    operator.fault(STATUS, status=400, code="invalid_publish_id", times=1_000, open_id=creator.open_id)
    shown = retried(operator, twins[0])
    assert (shown.status_code, shown.json()["code"]) == (409, "possible_videos"), shown.text
    named = [video["id"] for video in shown.json()["possible_videos"]]
    assert sorted(named) == sorted(item["post_id"] for item in operator.publications(creator))
    partly = retried(operator, twins[0], not_videos=named[:1])
    assert partly.json()["possible_videos"] == shown.json()["possible_videos"]
    answer = retried(operator, twins[0], not_videos=named, allow_duplicate=True)
    assert (answer.status_code, answer.json()["status"]) == (202, "retry_scheduled"), answer.text
    assert operator.wait_event(twins[0], "scheduler.post.retry_scheduled")["data"]["not_videos"] == named
    operator.clear_faults()


def test_a_retry_finds_it_live_and_publishes_nothing(operator: Operator, small: Video) -> None:
    account, creator = operator.account()
    post = lost(operator, account, creator, small)
    shown = status(operator, post)
    assert (shown["status"], shown["next_step"]) == ("unconfirmed", "look_again")
    assert "TikTok is asked again until" in shown["reason"]["message"]
    assert operator.user.retry(post).json()["code"] == "confirmation_required"
    answer = operator.user.retry(post, confirm_not_published=True)
    (item,) = operator.ledger(creator)
    # What TikTok tells on a busy machine after the look's patience is no answer to the retry, and is heard all the same.
    published = operator.wait_status(post, "published") if is_undecided(answer) else answer.json()
    assert (published["status"], published["tiktok_video_id"]) == ("published", item["post_id"]), answer.text
    assert operator.user.retry(post, confirm_not_published=True).json()["code"] == "post_not_retryable"
    operator.wait_event(post, "scheduler.post.published")
    assert len(operator.publications(creator)) == 1
    assert len(operator.events.of(post, "scheduler.post.due")) == 1


def test_a_late_webhook_stops_the_attempt_that_a_wrong_word_began(operator: Operator, big: Video) -> None:
    account, creator = operator.account()
    post = lost(operator, account, creator, big)
    (first,) = operator.ledger(creator)
    # TikTok does not tell when it is asked before the retry, and holds its answer to the third chunk of the second attempt.
    operator.fault(STATUS, status=400, code="invalid_publish_id", open_id=creator.open_id)
    operator.fault(LIST, status=401, code="scope_not_authorized", open_id=creator.open_id)
    operator.fault("upload", delay=600, delay_at="answer", skip=2, open_id=creator.open_id)
    answer = operator.user.retry(post, confirm_not_published=True)
    assert (answer.status_code, answer.json()["status"]) == (202, "retry_scheduled"), answer.text
    wait_for("half of the second attempt", lambda: any(item["bytes"] == 3 * CHUNK for item in operator.ledger(creator)))
    operator.tell(creator, "post.publish.complete", {"publish_id": first["publish_id"], "publish_type": "DIRECT_PUBLISH"})
    published = operator.wait_status(post, "published")
    assert published["tiktok_video_id"] == first["post_id"]
    stopped = operator.wait_event(post, "publisher.publish.cancelled")
    assert (stopped["data"]["attempt"], stopped["data"]["code"]) == (2, "earlier_attempt_published")
    operator.clear_faults()
    wait_for("nothing to be on its way", lambda: all(item["receiving"] == 0 for item in operator.ledger(creator)))
    assert sorted(item["bytes"] for item in operator.ledger(creator)) == [3 * CHUNK, first["bytes"]]
    assert [item["publish_id"] for item in operator.publications(creator)] == [first["publish_id"]]
    assert operator.status(post) == "published"


def test_an_attempt_told_again_after_the_next_one_does_nothing(operator: Operator, small: Video) -> None:
    account, creator = operator.account()
    operator.fault("processing", fail_reason="internal", open_id=creator.open_id)
    post = operator.schedule(account, operator.media(small.path))
    operator.wait_status(post, "retry_scheduled")
    # Refused only when it has just begun by itself.
    assert operator.user.request("POST", f"/api/v1/posts/{post}/publish-now").status_code in {202, 409}
    assert operator.wait_final(post) == "published"
    first = operator.wait_event(post, "scheduler.post.due")
    assert first["data"]["attempt"] == 1
    operator.wait_answered(post, operator.deliver_again("publisher.post_due", first, times=3, new_id=True))
    operator.wait_event(post, "publisher.publish.failed", count=4)
    assert operator.status(post) == "published"
    assert len(operator.publications(creator)) == 1
    assert len(operator.ledger(creator)) == 2


def test_an_id_that_the_status_never_names_is_found(operator: Operator, small: Video) -> None:
    account, creator = operator.account()
    operator.fault("processing", hide_post_id=True, open_id=creator.open_id)
    post = operator.schedule(account, operator.media(small.path))
    operator.wait_status(post, "published")
    video_id = wait_for("the id", lambda: operator.user.post(post)["tiktok_video_id"])
    assert video_id == operator.publications(creator)[0]["post_id"]
    identified = operator.wait_event(post, "publisher.publish.identified")
    assert identified["data"]["evidence"] == "video_list"
