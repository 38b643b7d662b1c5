"""When it counts as proven that the trail is complete: each consumer says so, the same ones twice in a row."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import cycle, repeat

import pytest

from common.clock import utc_now
from common.contracts.envelope import Envelope
from common.messaging.command_client import CommandAccepted, CommandUnavailable
from common.messaging.reply import Reply
from gateway.usecases import trail_proof
from gateway.usecases.trail_proof import ALL, NOTHING, TRIES, TrailProof, TrailQueue


class Client:
    """Answers each question as the next of these consumers; an exception is raised, a consumer in capitals has not everything."""

    def __init__(self, answers: Iterator[str | BaseException]) -> None:
        self.answers = answers
        self.asked = 0
        self.failed = 0
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
        return Reply(status=200, body={"consumer": answer.lower(), "everything": answer.islower(), "failed": self.failed})


def proof(client: Client, *numbers: int | None, waiting: Sequence[int] = (0,), dead: list[int] | None = None) -> TrailProof:
    """Return what asks `client`; each look at the queue finds the next of these numbers, the last one from then on."""
    left, held, letters = list(numbers), list(waiting), dead or [0]

    async def look() -> TrailQueue | None:
        consumers = left.pop(0) if len(left) > 1 else left[0]
        count = held.pop(0) if len(held) > 1 else held[0]
        lost = letters.pop(0) if len(letters) > 1 else letters[0]
        return None if consumers is None else TrailQueue(consumers, count, lost)

    return TrailProof(client, look)  # type: ignore[arg-type] # it is called


@pytest.mark.parametrize(
    ("answers", "numbers", "proven"),
    [
        (repeat("a"), [1], ALL),
        (cycle("ab"), [2], ALL),
        (iter("aabaabab"), [2], ALL),
        (repeat("a"), [2], None),
        (repeat("a"), [0], None),
        (repeat("a"), [None], None),
        (repeat("a"), [1, 1, None], None),
        (repeat("A"), [1], NOTHING),
        (iter("aA"), [1], NOTHING),
        (iter("Aa"), [1], NOTHING),
        (iter("abaB"), [2], NOTHING),
        (iter("ab"), [1], None),
        (iter("abac"), [2], None),
        (iter("abac" * TRIES), [1], None),
        (cycle("ab"), [1, 2, 2], None),
        (cycle("ab"), [2, 2, 3], None),
        (repeat(CommandUnavailable("unroutable")), [1], None),
        (repeat(CommandAccepted("id", is_confirmed=True)), [1], None),
        (repeat(""), [1], None),
        (repeat(asyncio.CancelledError()), [1], None),
    ],
)
async def test_each_has_to_answer_twice(
    answers: Iterator[str | BaseException], numbers: list[int | None], proven: datetime | None
) -> None:
    assert await proof(Client(answers), *numbers).given() is proven


@pytest.mark.parametrize("waiting", [[1], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
async def test_what_waits_for_another_try_is_missing_whoever_put_it_there(waiting: list[int]) -> None:
    """The consumers of now say that they stored everything: the one that could not is gone."""
    assert await proof(Client(repeat("a")), 1, waiting=waiting).given() is NOTHING


async def test_a_dead_letter_is_missing_to_those_who_were_away_when_it_may_have_become_one() -> None:
    """That is before it was first seen; each sign that there may be another one makes it later."""
    client = Client(repeat("a"))
    dead = [1]
    proving = proof(client, 1, dead=dead)

    async def given() -> datetime:
        before = utc_now()
        since = await proving.given()
        assert since is not None
        moments.append(since)
        return before

    moments: list[datetime] = []
    assert await given() <= moments[-1] <= utc_now(), "who knows since when it is there"
    await given()
    assert moments[-1] == moments[0], "nothing has happened since"
    client.failed += 1
    assert await given() <= moments[-1], "a consumer sent something away"
    client.answers = repeat("b")
    assert await given() <= moments[-1], "a consumer has gone, and what it did last is not known"
    dead[:] = [1, 2, 2]
    assert await given() <= moments[-1], "there is one more"
    dead[:] = [0]
    await given()
    assert moments[-1] == ALL, "it was replayed"
    dead[:] = [2]
    assert await given() <= moments[-1], "one who came and went did this"


@pytest.mark.parametrize(("number", "dead", "doubtful"), [(1, 0, False), (1, 1, True), (None, 0, True)])
async def test_what_has_to_be_known_before_anything_is_shown(number: int | None, dead: int, doubtful: bool) -> None:
    assert await proof(Client(repeat("a")), number, dead=[dead]).doubtful() is doubtful


async def test_questions_that_get_no_answer_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_proof, "PROOF_S", 0.01)
    client = Client(repeat("a"))
    client.may_answer.clear()
    assert await proof(client, 1).given() is None


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
    assert await asyncio.gather(first, *others) == [ALL] * 10
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
    assert await other is ALL
    assert one.cancelled()
