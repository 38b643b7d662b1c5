"""Runs the probe's child process and reads its answer."""

import asyncio
import json
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.places import Places
from scheduler.domain.media_rules import (
    MediaProblem,
    PhotoFacts,
    VideoFacts,
    container_not_allowed,
    photo_format_not_allowed,
)
from scheduler.probe.limits import ProbeLimits

MAX_ANSWER_BYTES = 1024 * 1024
MAX_CLAIMED_MS = 10**15
"""A file that says it lasts longer than this says nothing."""
MAX_CLAIMED_PX = 2**31 - 1
WAITING, WAITING_PER_USER = 120, 60
"""So many files wait for a place; with those that have one they are fewer than `scheduler.media` hands out."""
PATIENCE_S = 300.0
"""So long one waits for a place: RabbitMQ leaves a delivery unacknowledged for half an hour."""
MESSAGES = {
    "no_video_stream": "The file holds no video.",
    "file_unreadable": "The file cannot be read as a video.",
    "photo_unreadable": "The file cannot be read as a picture.",
    "probe_timeout": "Reading the file took too long.",
}

_OUT_OF_TIME = {signal.SIGXCPU, signal.SIGKILL}

_log = structlog.get_logger(__name__)


class NotConfined(Exception):
    """Nothing keeps a process from the network on this machine, so no file of others is looked into."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A file that could be read: what it is, and a small JPEG of it when a picture could be made."""

    facts: VideoFacts | PhotoFacts
    thumbnail: bytes | None = field(default=None, repr=False)


class _Video(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: Literal["video"]
    container: str
    video_codec: str
    duration_ms: int = Field(ge=-MAX_CLAIMED_MS, le=MAX_CLAIMED_MS)
    width: int = Field(ge=0, le=MAX_CLAIMED_PX)
    height: int = Field(ge=0, le=MAX_CLAIMED_PX)
    fps: float = Field(allow_inf_nan=False)
    whole: bool

    def facts(self) -> VideoFacts:
        return VideoFacts(**self.model_dump(exclude={"kind"}))


class _Photo(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kind: Literal["photo"]
    container: str
    width: int = Field(ge=0, le=MAX_CLAIMED_PX)
    height: int = Field(ge=0, le=MAX_CLAIMED_PX)
    animated: bool
    whole: bool

    def facts(self) -> PhotoFacts:
        return PhotoFacts(**self.model_dump(exclude={"kind"}))


_ANSWER: TypeAdapter[_Video | _Photo] = TypeAdapter(Annotated[_Video | _Photo, Field(discriminator="kind")])


class Prober:
    """Looks into files, `parallel` at a time, and twice as many are at hand for it; of each user half as many, but one at least.

    The child has an empty environment, its own limits of processor time and memory, and no network; it is killed when it takes
    too long or when the caller gives up.
    """

    def __init__(self, limits: ProbeLimits, *, parallel: int = 2) -> None:
        self._limits = limits
        at_hand = 2 * parallel
        self._files = Places(in_all=at_hand, per_user=parallel, waiting_in_all=WAITING, waiting_per_user=WAITING_PER_USER)
        share = max(1, parallel // 2)
        self._looks = Places(in_all=parallel, per_user=share, waiting_in_all=at_hand, waiting_per_user=at_hand)

    def turn(self, user_id: UUID) -> AbstractAsyncContextManager[None]:
        """Hold a place for a file of the user's, waited for: to fetch it, and to have it looked into. Raises NoPlace."""
        return self._files.waited_for(user_id, seconds=PATIENCE_S)

    async def probe(self, path: Path, user_id: UUID) -> Probed | MediaProblem:
        """Return what a user's file is, or why it cannot be read; never raises for what a file holds.

        Raises NotConfined, and NoPlace when others took all the time.
        """
        async with self._looks.waited_for(user_id, seconds=PATIENCE_S):
            try:
                status, answer = await self._run(path)
            except TimeoutError:
                return _unreadable("probe_timeout")
        if status == os.EX_NOPERM:
            raise NotConfined("neither seccomp nor unshare keep the media probe from the network here")
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
                answer = await _whole_answer(child)
                return await child.wait(), answer
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


async def _whole_answer(child: asyncio.subprocess.Process) -> bytes:
    """Read to the end of the child's output; what goes on beyond the limit is no answer."""
    if child.stdout is None:
        raise RuntimeError("the child has no output")
    answer = b""
    while len(answer) <= MAX_ANSWER_BYTES:
        piece = await child.stdout.read(MAX_ANSWER_BYTES)
        if not piece:
            return answer
        answer += piece
    child.kill()
    return b""


def _read(answer: bytes) -> Probed | MediaProblem:
    line, _, thumbnail = answer.partition(b"\n")
    try:
        found = json.loads(line)
        if "error" in found:
            return _refused(str(found["error"]), str(found.get("found", "")))
        return Probed(_ANSWER.validate_python(found).facts(), thumbnail or None)
    except (ValueError, TypeError, ValidationError):
        return _unreadable("file_unreadable")


def _refused(code: str, found: str) -> MediaProblem:
    naming = {"photo_format_not_allowed": photo_format_not_allowed, "container_not_allowed": container_not_allowed}
    return naming[code](found) if code in naming else _unreadable(code)


def _unreadable(code: str) -> MediaProblem:
    return MediaProblem(
        "file", code if code in MESSAGES else "file_unreadable", MESSAGES.get(code, MESSAGES["file_unreadable"])
    )
