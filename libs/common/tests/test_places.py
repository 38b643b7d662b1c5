"""Places that are waited for: bounded, shared between users, lost by nobody."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from common.errors import Problem
from common.places import Places
from common.testing.eventually import eventually

ONE, OTHER = uuid4(), uuid4()
PATIENCE = 60.0


class Desk:
    """Places, and tasks that take one each and keep it until told to go on."""

    def __init__(self, *, waiting_in_all: int = 10, waiting_per_user: int = 8) -> None:
        self.places = Places(in_all=3, per_user=2, waiting_in_all=waiting_in_all, waiting_per_user=waiting_per_user)
        self.got: list[str] = []
        self.done: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, user_id: UUID, *names: str, seconds: float = PATIENCE) -> None:
        """Let them ask for a place one after the other; returns when each has one, or waits, or was refused."""
        for name in names:
            self.done[name] = asyncio.Event()
            task = asyncio.create_task(self._take(user_id, name, seconds))
            self.tasks[name] = task
            before = self.places.waiting
            await eventually(lambda name=name, task=task, before=before: self._is_settled(name, task, before), 60)

    def _is_settled(self, name: str, task: asyncio.Task[None], waited: int) -> bool:
        return name in self.got or task.done() or self.places.waiting > waited

    async def _take(self, user_id: UUID, name: str, seconds: float) -> None:
        async with self.places.waited_for(user_id, seconds=seconds):
            self.got.append(name)
            await self.done[name].wait()

    async def leave(self, *names: str) -> None:
        for name in names:
            self.done[name].set()
            await self.tasks[name]


async def test_one_user_does_not_hold_all() -> None:
    desk = Desk()
    await desk.come(ONE, "a", "b", "c", "d")
    assert (desk.got, desk.places.waiting) == (["a", "b"], 2)
    await desk.come(OTHER, "x")
    assert desk.got == ["a", "b", "x"]
    await desk.leave("a")
    await eventually(lambda: desk.got == ["a", "b", "x", "c"], 60)
    await desk.leave("b", "x")
    await eventually(lambda: desk.got == ["a", "b", "x", "c", "d"], 60)
    await desk.leave("c", "d")
    assert (desk.places.taken, desk.places.waiting) == (0, 0)


async def test_who_holds_fewest_comes_first() -> None:
    desk = Desk()
    await desk.come(ONE, "a", "b")
    await desk.come(uuid4(), "x")
    await desk.come(ONE, "c", "d")
    await desk.come(OTHER, "y")
    await desk.leave("a")
    await eventually(lambda: desk.got == ["a", "b", "x", "y"], 60)
    await desk.leave("x")
    await eventually(lambda: desk.got == ["a", "b", "x", "y", "c"], 60)
    await desk.leave("b", "c", "y")
    await eventually(lambda: desk.got[-1] == "d", 60)
    await desk.leave("d")


@pytest.mark.parametrize("bounds", [{"waiting_per_user": 1}, {"waiting_in_all": 1}])
async def test_those_that_wait_are_bounded(bounds: dict[str, int]) -> None:
    desk = Desk(**bounds)
    await desk.come(ONE, "a", "b", "c", "d")
    with pytest.raises(Problem, match="too_many_at_once"):
        await desk.tasks["d"]
    await desk.leave("a", "b", "c")
    assert desk.got == ["a", "b", "c"]


async def test_who_is_refused_is_told_whose_places_are_taken() -> None:
    desk = Desk(waiting_in_all=0)
    await desk.come(ONE, "a", "b", "c")
    with pytest.raises(Problem, match="too_many_at_once"):
        await desk.tasks["c"]
    await desk.come(OTHER, "x", "y")
    with pytest.raises(Problem, match="all_places_taken"):
        await desk.tasks["y"]
    await desk.leave("a", "b", "x")


async def test_who_gives_up_waiting_takes_no_place() -> None:
    desk = Desk()
    await desk.come(ONE, "a", "b", "gone")
    await desk.come(ONE, "late", seconds=0.01)
    with pytest.raises(Problem, match="too_many_at_once"):
        await desk.tasks["late"]
    desk.tasks["gone"].cancel()
    # Given back before the one that was cancelled has run.
    desk.done["a"].set()
    await asyncio.wait([desk.tasks["gone"], desk.tasks["a"]])
    assert (desk.places.taken, desk.places.waiting) == (1, 0)
    await desk.come(ONE, "c")
    assert desk.got == ["a", "b", "c"]
    await desk.leave("b", "c")


async def test_a_place_given_to_who_is_cancelled_at_that_moment_is_given_back() -> None:
    places = Places(in_all=1, per_user=1, waiting_in_all=1, waiting_per_user=1)

    async def take() -> None:
        async with places.waited_for(OTHER, seconds=PATIENCE):
            raise AssertionError("it was cancelled")

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.waited_for(ONE, seconds=PATIENCE))
        waiting = asyncio.create_task(take())
        await eventually(lambda: places.waiting == 1, 60)
    assert (places.taken, places.waiting) == (1, 0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert places.taken == 0
