"""Runs the probe's child process and reads its answer."""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scheduler.domain.media_rules import MediaProblem, VideoFacts
from scheduler.probe.limits import ProbeLimits

MAX_ANSWER_BYTES = 64 * 1024
MAX_CLAIMED_MS = 10**15
"""A file that says it lasts longer than this says nothing."""
MESSAGES = {
    "no_video_stream": "The file holds no video.",
    "file_unreadable": "The file cannot be read as a video.",
    "probe_timeout": "Reading the file took too long.",
}

_OUT_OF_TIME = {signal.SIGXCPU, signal.SIGKILL}

_log = structlog.get_logger(__name__)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    container: str
    video_codec: str
    duration_ms: int = Field(ge=-MAX_CLAIMED_MS, le=MAX_CLAIMED_MS)
    width: int
    height: int
    fps: float
    whole: bool


class Prober:
    """Looks into files, `parallel` at a time.

    The child has an empty environment, its own limits of processor time and memory, and no network; it is killed when it takes
    too long or when the caller gives up.
    """

    def __init__(self, limits: ProbeLimits, *, parallel: int = 2) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(parallel)

    async def probe(self, path: Path) -> VideoFacts | MediaProblem:
        """Return what the file is, or why it cannot be read; never raises for what a file holds."""
        async with self._slots:
            try:
                status, answer = await self._run(path)
            except TimeoutError:
                return _unreadable("probe_timeout")
        if status != 0:
            _log.info("probe_child_died", status=status)
            return _unreadable("probe_timeout" if -status in _OUT_OF_TIME else "file_unreadable")
        return _read(answer)

    async def _run(self, path: Path) -> tuple[int, bytes]:
        arguments = [str(path), str(self._limits.seconds), str(self._limits.memory_bytes)]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "scheduler.probe.child",
            *arguments,
            env={},
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                if child.stdout is None:
                    raise RuntimeError("the child has no output")
                answer = await child.stdout.read(MAX_ANSWER_BYTES)
                return await child.wait(), answer
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


def _read(answer: bytes) -> VideoFacts | MediaProblem:
    try:
        found = json.loads(answer)
        if "error" in found:
            return _unreadable(str(found["error"]))
        return VideoFacts(**_Answer.model_validate(found).model_dump())
    except (ValueError, TypeError, ValidationError):
        return _unreadable("file_unreadable")


def _unreadable(code: str) -> MediaProblem:
    return MediaProblem("file", code, MESSAGES.get(code, MESSAGES["file_unreadable"]))
