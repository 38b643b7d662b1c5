import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok.publish_webhooks import Claim, PublishClaim, publish_claim
from tiktok.webhooks import RefusalKind, WebhookRefused, parse_content

ABOUT = {"publish_id": "v_pub_file~v2-1.1", "publish_type": "DIRECT_PUBLISH"}
VIDEO = 7_301_234_567_890_123_456


@pytest.mark.parametrize(
    ("event", "claim"),
    [
        ("post.publish.failed", Claim.FAILED),
        ("post.publish.complete", Claim.COMPLETE),
        ("post.publish.inbox_delivered", Claim.DELIVERED),
        ("post.publish.publicly_available", Claim.PUBLIC),
        ("post.publish.publicaly_available", Claim.PUBLIC),
        ("post.publish.no_longer_publicaly_available", Claim.NOT_PUBLIC),
        ("post.publish.no_longer_publicly_available", Claim.NOT_PUBLIC),
    ],
)
def test_every_event_with_tiktoks_spelling_and_the_right_one(event: str, claim: Claim) -> None:
    assert publish_claim(event, ABOUT) == PublishClaim(claim, ABOUT["publish_id"], "DIRECT_PUBLISH")


@pytest.mark.parametrize(
    "event", ["authorization.removed", "post.publish.", "post.publish.unheard", "video.publish.completed", "complete", ""]
)
def test_other_events_claim_nothing(event: str) -> None:
    assert publish_claim(event, {}) is None


def test_the_reason_belongs_to_a_failure_alone() -> None:
    failed = publish_claim("post.publish.failed", {**ABOUT, "reason": "picture_size_check_failed"})
    assert failed is not None
    assert failed.fail_reason == "picture_size_check_failed"
    complete = publish_claim("post.publish.complete", {**ABOUT, "reason": "internal"})
    assert complete is not None
    assert complete.fail_reason is None


@pytest.mark.parametrize("number", [VIDEO, str(VIDEO)])
def test_the_video_id_is_text_to_the_last_digit(number: int | str) -> None:
    content = parse_content(json.dumps({**ABOUT, "post_id": number}))
    assert content is not None
    claim = publish_claim("post.publish.publicly_available", content)
    assert claim is not None
    assert claim.video_id == str(VIDEO)


@pytest.mark.parametrize("value", [None, "", "0", 0, -1, "x", "\u0661", "1" * 20, True, 1.5, [], {}])
def test_what_is_no_video_id_is_left_out(value: Any) -> None:
    claim = publish_claim("post.publish.publicly_available", {**ABOUT, "post_id": value})
    assert claim is not None
    assert claim.video_id is None


@pytest.mark.parametrize("content", ["", "text", {}, {"publish_id": None}, {"publish_id": ""}, {"publish_id": "x" * 201}])
def test_without_a_publish_id_it_is_refused(content: Any) -> None:
    with pytest.raises(WebhookRefused) as caught:
        publish_claim("post.publish.complete", content)
    assert caught.value.kind is RefusalKind.MALFORMED


@given(content=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())))
def test_whatever_it_holds_nothing_else_is_raised(content: dict[str, Any]) -> None:
    claim = publish_claim("post.publish.failed", {**content, "publish_id": "p"})
    assert claim is not None
    assert claim.publish_id == "p"
