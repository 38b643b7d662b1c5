"""When it counts as proven that the trail is complete: each consumer says so, the same ones twice in a row."""

import asyncio
from collections.abc import Iterator
from itertools import cycle, repeat

import pytest

from common.contracts.envelope import Envelope
from common.messaging.command_client import CommandAccepted, CommandUnavailable
from common.messaging.reply import Reply
from gateway.usecases.trail_proof import TRIES, TrailProof


class Client:
    """Answers each question as the next of these consumers; an exception is raised, a consumer in capitals has not everything."""

    def __init__(self, answers: Iterator[str | Exception]) -> None:
        self.answers = answers
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def call(self, _: Envelope) -> Reply:
        self.asked += 1
        answer = next(self.answers)
        await self.may_answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return Reply(status=200, body={"consumer": answer, "everything": answer.islower()})


def proof(client: Client, *numbers: int | None) -> TrailProof:
    """Return what asks `client`, while the queue has these numbers of consumers, the last one from then on."""
    left = list(numbers)

    async def consumers() -> int | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return TrailProof(client, consumers)  # type: ignore[arg-type] # it is called


@pytest.mark.parametrize(
    ("answers", "numbers", "proven"),
    [
        (repeat("a"), [1], True),
        (cycle("ab"), [2], True),
        (iter("aabaabab"), [2], True),
        (repeat("a"), [2], False),
        (repeat("a"), [0], False),
        (repeat("a"), [None], False),
        (repeat("A"), [1], False),
        (iter("aA"), [1], False),
        (iter("ab"), [1], False),
        (iter("abac"), [2], False),
        (iter("abac" * TRIES), [1], False),
        (cycle("ab"), [1, 2, 2], False),
        (cycle("ab"), [2, 2, 3], False),
        (repeat(CommandUnavailable("unroutable")), [1], False),
        (repeat(CommandAccepted("id", is_confirmed=True)), [1], False),
    ],
)
async def test_each_has_to_answer_twice(answers: Iterator[str | Exception], numbers: list[int | None], proven: bool) -> None:
    assert await proof(Client(answers), *numbers).given() is proven


async def test_who_asks_meanwhile_shares_the_next_questions() -> None:
    """The questions that are out say nothing of what was published since."""
    client = Client(repeat("a"))
    client.may_answer.clear()
    proving = proof(client, 1)
    first = asyncio.create_task(proving.given())
    while not client.asked:  # noqa: ASYNC110 - it is about to
        await asyncio.sleep(0)
    others = [asyncio.create_task(proving.given()) for _ in range(9)]
    await asyncio.sleep(0)
    client.may_answer.set()
    assert await asyncio.gather(first, *others) == [True] * 10
    assert client.asked == 4


async def test_who_does_not_wait_any_longer_ends_nothing_for_the_others() -> None:
    client = Client(repeat("a"))
    client.may_answer.clear()
    proving = proof(client, 1)
    one, other = (asyncio.create_task(proving.given()) for _ in range(2))
    while not client.asked:  # noqa: ASYNC110 - it is about to
        await asyncio.sleep(0)
    one.cancel()
    client.may_answer.set()
    assert await other is True
    assert one.cancelled()
