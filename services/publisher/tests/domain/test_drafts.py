"""Looking at a delivered draft: growing pauses, a week, and nothing that could take the delivery back."""

from itertools import pairwise

from publisher.domain.drafts import DAY_SECONDS, DRAFT_SECONDS, after_draft_look, draft_wait
from publisher.domain.following import Seen
from publisher.domain.outcomes import Fail, Look, Reason, Succeed

LAST = len(DRAFT_SECONDS)


def test_pauses_grow_and_end_after_a_week() -> None:
    assert all(earlier <= later for earlier, later in pairwise(DRAFT_SECONDS))
    assert 6.5 * DAY_SECONDS <= sum(DRAFT_SECONDS) <= 7.5 * DAY_SECONDS
    assert [draft_wait(looks) for looks in range(LAST)] == list(DRAFT_SECONDS)
    assert draft_wait(LAST) is None


def test_only_a_publication_is_news() -> None:
    published = Seen("PUBLISH_COMPLETE", post_ids=("1", "2"))
    assert after_draft_look(published, 1) == Succeed("published", ("1", "2"))
    assert after_draft_look(published, LAST + 5) == Succeed("published", ("1", "2"))
    for seen in (None, Seen("SEND_TO_USER_INBOX"), Seen("PROCESSING_UPLOAD"), Seen("NEW_STATUS")):
        assert after_draft_look(seen, 3) == Look(DRAFT_SECONDS[3])
        assert after_draft_look(seen, LAST) is None


def test_a_failure_after_the_delivery_only_ends_the_looking() -> None:
    failed = Seen("FAILED", failure=Fail(Reason("tiktok_internal", "m"), retryable=True))
    assert after_draft_look(failed, 1) is None
