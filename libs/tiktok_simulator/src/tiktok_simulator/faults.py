"""Faults that tests order: the next calls of an endpoint go wrong in a chosen way."""

import asyncio
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from tiktok_simulator.paths import API_PATHS

UPLOAD_FAULT = "upload"
PROCESSING = "processing"
WEBHOOK = "webhook"
DOWNLOAD = "download"

_OF_CALLS = ("code", "status", "delay", "delay_at", "drop", "lost_answer")
_OF_PROCESSING = ("fail_reason", "stuck", "hide_post_id", "moderation", "delay")
_OF_DOWNLOADS = ("delay", "drop", "stuck")
_OF_WEBHOOKS = ("duplicate", "reorder", "drop", "delay")


class Fault(BaseModel):
    """One order: after ``skip`` matching calls, the next ``times`` calls of ``endpoint`` (of ``open_id`` only).

    ``code`` and ``status``: refuse, without effect. ``drop``: close the connection before any effect.
    ``lost_answer``: let it have its effect, then close the connection. ``delay`` in seconds, at the place
    ``delay_at``: ``request`` (before anything), ``body`` (when half of the body, at most 1 MB, has been read),
    ``answer`` (after the effect). It is ``body`` for uploads and ``answer`` for all else unless given. ``drop`` with
    ``delay_at: body`` cuts in the middle of the body. For ``processing`` a ``delay`` goes by the clock that can be put
    forward, and clearing the faults does not end it. For ``webhook``: ``duplicate`` sends it twice, ``reorder`` after
    the next one, ``drop`` never, ``delay`` later.
    """

    model_config = ConfigDict(extra="forbid")

    endpoint: str
    times: int = Field(1, ge=1, le=1_000_000)
    skip: int = Field(0, ge=0, le=1_000_000)
    open_id: str | None = None
    code: str | None = Field(None, pattern=r"^[a-z_]{1,80}$")
    status: int | None = Field(None, ge=200, le=599)
    delay: float | None = Field(None, ge=0, le=3600)
    delay_at: Literal["request", "body", "answer"] | None = None
    drop: bool | None = None
    lost_answer: bool | None = None
    fail_reason: str | None = Field(None, pattern=r"^[a-z_]{1,80}$")
    stuck: bool | None = None
    hide_post_id: bool | None = None
    moderation: float | None = Field(None, ge=0, le=10 * 365 * 86400)
    duplicate: bool | None = None
    reorder: bool | None = None

    _released: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @model_validator(mode="after")
    def _fits_its_endpoint(self) -> Self:
        if self.endpoint == PROCESSING:
            allowed: tuple[str, ...] = _OF_PROCESSING
        elif self.endpoint == WEBHOOK:
            allowed = _OF_WEBHOOKS
        elif self.endpoint == DOWNLOAD:
            allowed = _OF_DOWNLOADS
        elif self.endpoint == UPLOAD_FAULT or self.endpoint in API_PATHS:
            allowed = _OF_CALLS
        else:
            names = ", ".join((*API_PATHS, UPLOAD_FAULT, DOWNLOAD, PROCESSING, WEBHOOK))
            raise ValueError(f"endpoint must be one of {names}")
        given = self.model_dump(exclude_none=True, exclude={"endpoint", "times", "skip", "open_id"})
        wrong = sorted(set(given) - set(allowed))
        if wrong:
            raise ValueError(f"{', '.join(wrong)} cannot be used with {self.endpoint}")
        if not set(given) - {"delay_at"}:
            raise ValueError(f"say what shall go wrong: {', '.join(allowed)}")
        return self

    @property
    def delay_place(self) -> str:
        """Where the delay happens."""
        return self.delay_at or ("body" if self.endpoint == UPLOAD_FAULT else "answer")

    async def wait(self) -> None:
        """Wait for the delay, or until the faults are cleared."""
        if self.delay:
            try:
                async with asyncio.timeout(self.delay):
                    await self._released.wait()
            except TimeoutError:
                return

    def release(self) -> None:
        """End all waits."""
        self._released.set()


class Faults:
    """The orders that are left, in the order they came."""

    def __init__(self) -> None:
        self._left: list[Fault] = []
        self._taken: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Take an order."""
        self._left.append(fault)

    def concerns_one_creator(self, endpoint: str) -> bool:
        """Return whether an order for this endpoint asks who calls."""
        return any(fault.endpoint == endpoint and fault.open_id is not None for fault in self._left)

    def take(self, endpoint: str, open_id: str | None) -> Fault | None:
        """Return the fault for this call, counting it down; None when the call goes right."""
        for fault in self._left:
            if fault.endpoint != endpoint or fault.open_id not in {None, open_id}:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.times == 0:
                self._left.remove(fault)
            if fault.delay and fault not in self._taken:
                self._taken.append(fault)
            return fault
        return None

    def items(self) -> list[dict[str, Any]]:
        """Return what is left."""
        return [fault.model_dump(exclude_none=True) for fault in self._left]

    def clear(self) -> None:
        """Drop all orders and let delayed calls go on."""
        for fault in (*self._left, *self._taken):
            fault.release()
        self._left.clear()
        self._taken.clear()
