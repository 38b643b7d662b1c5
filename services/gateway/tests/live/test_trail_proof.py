"""When it counts as proven that the trail is complete: each consumer says so, the same ones twice in a row."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import cycle, repeat

import pytest

from common.contracts.envelope import Envelope
from common.messaging.command_client import CommandAccepted, CommandUnavailable
from common.messaging.reply import Reply
from gateway.usecases import trail_proof
from gateway.usecases.trail_proof import TRIES, Stored, TrailProof, TrailQueue


class Client:
    """Answers each question as the next of these consumers; an exception is raised, a consumer in capitals has not everything."""

    def __init__(self, answers: Iterator[str | BaseException]) -> None:
        self.answers = answers
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def call(self, _: Envelope) -> Reply:
        self.asked += 1
        answer = next(self.answers)
        await self.may_answer.wait()
        if isinstance(answer, BaseException):
            raise answer
        if not answer:
            return Reply(status=500, body={})
        return Reply(status=200, body={"consumer": answer.lower(), "everything": answer.islower()})


def proof(client: Client, *numbers: int | None, held_back: Sequence[int] = (0,)) -> TrailProof:
    """Return what asks `client`; each look at the queue finds the next of these numbers, the last one from then on."""
    left, held = list(numbers), list(held_back)

    async def look() -> TrailQueue | None:
        consumers = left.pop(0) if len(left) > 1 else left[0]
        count = held.pop(0) if len(held) > 1 else held[0]
        return None if consumers is None else TrailQueue(consumers, count)

    return TrailProof(client, look)  # type: ignore[arg-type] # it is called


@pytest.mark.parametrize(
    ("answers", "numbers", "proven"),
    [
        (repeat("a"), [1], Stored.ALL),
        (cycle("ab"), [2], Stored.ALL),
        (iter("aabaabab"), [2], Stored.ALL),
        (repeat("a"), [2], Stored.UNKNOWN),
        (repeat("a"), [0], Stored.UNKNOWN),
        (repeat("a"), [None], Stored.UNKNOWN),
        (repeat("a"), [1, 1, None], Stored.UNKNOWN),
        (repeat("A"), [1], Stored.BUT_FAILED),
        (iter("aA"), [1], Stored.BUT_FAILED),
        (iter("Aa"), [1], Stored.BUT_FAILED),
        (iter("abaB"), [2], Stored.BUT_FAILED),
        (iter("ab"), [1], Stored.UNKNOWN),
        (iter("abac"), [2], Stored.UNKNOWN),
        (iter("abac" * TRIES), [1], Stored.UNKNOWN),
        (cycle("ab"), [1, 2, 2], Stored.UNKNOWN),
        (cycle("ab"), [2, 2, 3], Stored.UNKNOWN),
        (repeat(CommandUnavailable("unroutable")), [1], Stored.UNKNOWN),
        (repeat(CommandAccepted("id", is_confirmed=True)), [1], Stored.UNKNOWN),
        (repeat(""), [1], Stored.UNKNOWN),
        (repeat(asyncio.CancelledError()), [1], Stored.UNKNOWN),
    ],
)
async def test_each_has_to_answer_twice(
    answers: Iterator[str | BaseException], numbers: list[int | None], proven: Stored
) -> None:
    assert await proof(Client(answers), *numbers).given() is proven


@pytest.mark.parametrize("held_back", [[1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
async def test_what_waits_in_another_queue_is_missing_whoever_put_it_there(held_back: list[int]) -> None:
    """The consumers of now say that they stored everything: the one that could not is gone."""
    assert await proof(Client(repeat("a")), 1, held_back=held_back).given() is Stored.BUT_FAILED


async def test_questions_that_get_no_answer_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_proof, "PROOF_S", 0.01)
    client = Client(repeat("a"))
    client.may_answer.clear()
    assert await proof(client, 1).given() is Stored.UNKNOWN


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
    assert await asyncio.gather(first, *others) == [Stored.ALL] * 10
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
    assert await other is Stored.ALL
    assert one.cancelled()
