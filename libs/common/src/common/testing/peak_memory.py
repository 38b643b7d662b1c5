"""How much memory a file takes that is written while it is read: by its writer, which runs in this process, and its reader."""

import asyncio
import gc
import tracemalloc
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was read to its end: its bytes and lines, and what Python held at most meanwhile, in bytes."""

    size: int
    lines: int
    peak: int


async def taken_piecewise(answer: AbstractAsyncContextManager[httpx.Response]) -> Taken:
    """Read an answer, holding one piece at a time, which lets its writer run between; raises for any status but success."""
    size = lines = 0
    # Garbage is removed piece by piece, to tell it from what is kept; what a long test run holds besides is not gone through.
    gc.collect()
    gc.freeze()
    tracemalloc.start()
    try:
        async with answer as response:
            response.raise_for_status()
            async for piece in response.aiter_raw():
                size += len(piece)
                lines += piece.count(b"\n")
                await asyncio.sleep(0)
                gc.collect()
        return Taken(size, lines, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
        gc.unfreeze()
