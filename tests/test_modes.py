"""The ways of publishing besides a file posted directly, through the whole system."""

import pytest

from demo.video import Video
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return make_small_video(tmp_path_factory.mktemp("video") / "small.mp4")


def test_a_draft_reaches_the_inbox_and_is_published_when_its_creator_posts_it(operator: Operator, video: Video) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(video.path), mode="inbox", privacy_level=None, caption="")
    assert operator.wait_status(post, "sent_to_inbox")["published_at"] is None
    (draft,) = operator.publications(creator)
    assert (draft["mode"], draft["sha256"], draft["draft"]) == (
        "inbox",
        video.sha256,
        "waiting",
    )
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


def _actions(operator: Operator, post: str) -> list[str]:
    """Return what was done with a post, the newest first."""
    return [item["action"] for item in operator.user.audit(object_id=post)["items"]]
