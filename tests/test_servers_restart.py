"""Broker and database restart, schedulers die, while posts fall due: nothing is lost, nothing goes out twice."""

import time
from datetime import timedelta

import pytest

from common.clock import utc_now
from demo.video import Video
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

POSTS = 6


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Video:
    return make_small_video(tmp_path_factory.mktemp("video") / "small.mp4")


class Batch:
    """Posts of several accounts that fall due one after another."""

    def __init__(self, operator: Operator, video: Video, *, first: float, gap: float) -> None:
        self.operator = operator
        self._media = operator.media(video.path)
        self.creators = [operator.account() for _ in range(POSTS)]
        self.posts = [
            operator.schedule(account, self._media, in_seconds=first + gap * number)
            for number, (account, _) in enumerate(self.creators)
        ]

    def restart(self, server: str) -> None:
        """Restart a server once the first post has fallen due; one more falls due after it is told to stop and before it starts."""
        self.creators.append(self.operator.account())
        self.operator.wait_event(self.posts[0], "scheduler.post.due")
        due = utc_now() + timedelta(seconds=4)
        self.posts.append(self.operator.schedule(self.creators[-1][0], self._media, scheduled_time=due.isoformat()))
        assert utc_now() < due, "scheduled too slowly to fall due later"
        self.operator.stack.stop(server)
        wait_for("the last post's time", lambda: utc_now() > due)
        self.operator.stack.start(server)

    def judge(self, video: Video) -> None:
        """Every post published, every creator with exactly one publication of the right bytes."""
        assert [self.operator.wait_final(post) for post in self.posts] == ["published"] * len(self.posts)
        for _, creator in self.creators:
            assert [item["sha256"] for item in self.operator.publications(creator)] == [video.sha256]


def test_rabbitmq_restarts_while_posts_fall_due(operator: Operator, small: Video) -> None:
    batch = Batch(operator, small, first=3, gap=0.5)
    batch.restart("rabbitmq")
    batch.judge(small)


def test_postgresql_restarts_while_posts_fall_due(operator: Operator, small: Video) -> None:
    batch = Batch(operator, small, first=3, gap=0.5)
    batch.restart("postgres")
    batch.judge(small)


def test_rabbitmq_and_postgresql_are_killed(operator: Operator, small: Video) -> None:
    batch = Batch(operator, small, first=3, gap=1)
    operator.wait_event(batch.posts[0], "scheduler.post.due")
    with operator.reading(batch.posts[0]) as reader:
        operator.stack.kill("rabbitmq")
        operator.stack.kill("postgres")
        batch.judge(small)
    assert reader.statuses <= {200, 503}, reader.answers


@pytest.mark.parametrize(("server", "seconds"), [("rabbitmq", 40), ("postgres", 25)])
def test_a_server_freezes_and_goes_on(operator: Operator, small: Video, server: str, seconds: int) -> None:
    """Silent longer than clients wait: what they give up must come back by itself, without a restart of any service."""
    batch = Batch(operator, small, first=3, gap=1)
    operator.wait_event(batch.posts[0], "scheduler.post.due")
    pids = {name: state.pid for name, state in operator.stack.states().items()}
    with operator.frozen(server):
        # There is no event to await: the point is that nothing happens for longer than any patience.
        time.sleep(seconds)
    batch.judge(small)
    assert {name: state.pid for name, state in operator.stack.states().items()} == pids


def test_schedulers_die_between_claim_and_relay(operator: Operator, small: Video) -> None:
    """RabbitMQ is silent when the posts fall due, so their PostDue lie in the outbox when both schedulers are killed."""
    batch = Batch(operator, small, first=3_600, gap=0)
    with operator.frozen("rabbitmq"):
        operator.let_fall_due(batch.posts)
        operator.wait_until_claimed(POSTS)
        operator.stack.kill("scheduler-1")
        operator.stack.kill("scheduler-2")
    batch.judge(small)


def test_post_due_delivered_twice_and_late(operator: Operator, small: Video) -> None:
    account, creator = operator.account()
    post = operator.schedule(account, operator.media(small.path))
    due = operator.wait_event(post, "scheduler.post.due")
    operator.deliver_again("publisher.post_due", due, times=3)
    assert operator.wait_final(post) == "published"
    operator.wait_answered(post, operator.deliver_again("publisher.post_due", due, times=3, new_id=True))
    assert operator.status(post) == "published"
    assert [item["sha256"] for item in operator.publications(creator)] == [small.sha256]
    assert len(operator.ledger(creator)) == 1
