"""Two schedulers and three publishers at once: each takes its share, and nothing goes out twice."""

import pytest

from demo.api import Creator
from system.operator import Operator
from system.small_video import make_small_video

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ACCOUNTS = 8
POSTS_A_ROUND = 24
ROUNDS = 5
"""Who takes a post is chance; that one of them takes none of so many would not be."""
SCHEDULERS, PUBLISHERS = {"scheduler-1", "scheduler-2"}, {"publisher-1", "publisher-2", "publisher-3"}


def test_all_take_part_and_each_post_goes_out_once(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> None:
    video = make_small_video(tmp_path_factory.mktemp("video") / "small.mp4")
    media = operator.media(video.path)
    accounts = [operator.account() for _ in range(ACCOUNTS)]
    posts: dict[str, Creator] = {}
    for _ in range(ROUNDS):
        for number in range(POSTS_A_ROUND):
            account, creator = accounts[number % ACCOUNTS]
            # The first are due when the last have been scheduled, then one every 20 ms: a claim that took one leaves the others.
            posts[operator.schedule(account, media, in_seconds=3 + 0.02 * number)] = creator
        assert {operator.wait_final(post) for post in posts} == {"published"}
        if claimed_by(operator, posts) == SCHEDULERS and started_by(operator, posts) == PUBLISHERS:
            break
    assert claimed_by(operator, posts) == SCHEDULERS
    assert started_by(operator, posts) == PUBLISHERS
    for _, creator in accounts:
        published = [item["sha256"] for item in operator.publications(creator)]
        assert published == [video.sha256] * sum(whose is creator for whose in posts.values())
        assert len(operator.ledger(creator)) == len(published), "an init for each post, and no other"


def claimed_by(operator: Operator, posts: dict[str, Creator]) -> set[str]:
    """Return which schedulers say in their logs that they handed over one of these posts."""
    found = set()
    for name in SCHEDULERS:
        lines = (operator.stack.paths.log / f"{name}.log").read_text(encoding="utf-8").splitlines()
        told = [line for line in lines if "scheduler.post.due.v1" in line]
        if any(post in line for line in told for post in posts):
            found.add(name)
    return found


def started_by(operator: Operator, posts: dict[str, Creator]) -> set[str]:
    """Return which publishers started one of these posts."""
    started = [event for post in posts for event in operator.events.of(post, "publisher.publish.started")]
    return {str(event["data"]["replica"]) for event in started}
