"""The ways of publishing besides a file posted directly: what is accepted, warned of, refused, and handed to the publisher."""

from typing import Any

import pytest

from common.clock import utc_now
from common.contracts.registry import parse
from common.contracts.scheduler import PostDue
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


async def handed_over(world: Any, post: dict[str, Any]) -> PostDue:
    """Make the post due and return what the publisher is told."""
    await world.execute("UPDATE posts SET next_attempt_at = :now WHERE id = :id", now=utc_now(), id=post["id"])

    async def told() -> PostDue | None:
        found = [envelope for envelope in await world.told() if envelope.key == PostDue.KEY]
        return parse(found[0], PostDue) if found else None

    event = await eventually(told)
    assert event is not None
    return event


async def test_a_draft_for_the_inbox_needs_no_privacy_level(author: Any) -> None:
    post = await author.post(mode="inbox", privacy_level=None, caption="")
    assert (post["mode"], post["status"], post["warnings"]) == ("inbox", "scheduled", [])
    # Creator info is about direct posts: for a draft it is not even asked for.
    assert not [path for path in author.scheduler.neighbours.asked if "creator-info" in path]


async def test_what_tiktok_ignores_of_a_draft_is_a_warning(author: Any) -> None:
    post = await author.post(mode="inbox", caption="Hello", privacy_level="SELF_ONLY", brand_content_toggle=True)
    (warning,) = post["warnings"]
    assert (warning["field"], warning["code"]) == ("mode", "ignored_in_inbox_mode")
    assert "caption, privacy_level, brand_content_toggle" in warning["message"]


async def test_a_post_that_turns_from_a_draft_for_the_inbox_into_a_direct_one_needs_a_level(author: Any) -> None:
    post = await author.post(mode="inbox", privacy_level=None)
    refused = await author.change(post, mode="direct")
    assert (refused.status, refused.body["code"]) == (422, "privacy_required")
    changed = await author.change(post, mode="direct", privacy_level="SELF_ONLY")
    assert (changed.status, changed.body["warnings"]) == (200, [])
