"""Measuring requests one after the other, showing the result, and judging by goals."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

_misses: list[str] = []


def verdict(what: str, is_reached: bool) -> str:
    """Return the word for whether a goal is reached; a miss is remembered by `what` was measured."""
    if is_reached:
        return "reached"
    _misses.append(what)
    return "MISSED"


def missed() -> list[str]:
    """Return what has missed its goal so far."""
    return list(_misses)


@dataclass(frozen=True, slots=True)
class Figure:
    """Milliseconds of one kind of request: median, 99th percentile and the slowest of `number`."""

    label: str
    number: int
    p50: float
    p99: float
    slowest: float


async def measure(label: str, call: Callable[[], Awaitable[None]], *, number: int, warm_up: int = 20) -> Figure:
    """Call one at a time, `warm_up` times unmeasured and `number` times measured."""
    for _ in range(warm_up):
        await call()
    taken = []
    for _ in range(number):
        begin = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begin) * 1000)
    taken.sort()
    return Figure(label, number, _percentile(taken, 50), _percentile(taken, 99), taken[-1])


def show(title: str, figures: Sequence[Figure], *, goal_ms: float) -> None:
    """Print a Markdown table; `goal_ms` is what the 99th percentile is to stay below."""
    print(f"\n{title} (goal: p99 < {goal_ms:g} ms)\n")
    print("| request | requests | p50 ms | p99 ms | slowest ms | |\n|---|---|---|---|---|---|")
    for one in figures:
        word = verdict(one.label, one.p99 < goal_ms)
        print(f"| {one.label} | {one.number} | {one.p50:.1f} | {one.p99:.1f} | {one.slowest:.1f} | {word} |")


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
