"""Several questions to others at once: what is not answered in time is left out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from common.errors import Transient
from scheduler.clients.accounts import AccountsAway

K = TypeVar("K")
V = TypeVar("V")

Question = Callable[[], Awaitable[V]]


async def answers_in_time(questions: Mapping[K, Question[V]], *, seconds: float, parallel: int) -> dict[K, V]:
    """Return the answers that came within `seconds`, `parallel` asked at once; nothing for those who are away.

    Raises what any other failure raised, after all have ended.
    """
    slots = asyncio.Semaphore(parallel)

    async def ask(question: Question[V]) -> V:
        async with slots:
            return await question()

    tasks = {key: asyncio.create_task(ask(question)) for key, question in questions.items()}
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=seconds)
    finally:
        for task in tasks.values():
            task.cancel()
        ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
    answers: dict[K, V] = {}
    for key, answer in zip(tasks, ended, strict=True):
        if isinstance(answer, AccountsAway | Transient | TimeoutError | asyncio.CancelledError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        answers[key] = answer
    return answers
