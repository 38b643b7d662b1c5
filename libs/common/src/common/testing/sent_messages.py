"""What this process sends to a broker, whoever wrote its frames: the client library, or ourselves (`common.messaging.wire`)."""

from collections.abc import Callable, Iterator
from functools import wraps
from struct import Struct
from typing import Any

import pytest
from aiormq.abc import ChannelFrame

from common.messaging.wire.frames import BODY, HEAD_SIZE, HEADER, METHOD

_HEAD = Struct(">BHI")
_PUBLISH = Struct(">HH").pack(60, 40)


def listen_to_sent(monkeypatch: pytest.MonkeyPatch, keep: Callable[[bytes], None]) -> None:
    """Have `keep` called with everything that is published from now on, before it is sent; the monkeypatch ends it.

    The library's writer takes nothing but `ChannelFrame`s: its own and those of `Session.write` are all made here.
    """
    make = ChannelFrame.__init__

    @wraps(make)
    def making(queued: ChannelFrame, *arguments: Any, **named: Any) -> None:
        make(queued, *arguments, **named)
        published = b"\n".join(published_in(queued.payload))
        if published:
            keep(published)

    monkeypatch.setattr(ChannelFrame, "__init__", making)


def published_in(frames: bytes) -> Iterator[bytes]:
    """Yield of each message in whole frames where it goes, its properties with all headers, and its body in one piece.

    All that is not published is left out: logging in to the broker takes a password.
    """
    position = 0
    message: list[bytes] = []
    while position + HEAD_SIZE < len(frames):
        kind, _, size = _HEAD.unpack_from(frames, position)
        start = position + HEAD_SIZE
        payload = frames[start : start + size]
        position = start + size + 1
        if kind == METHOD:
            if message:
                yield b"".join(message)
            message = [payload, b"\n"] if payload.startswith(_PUBLISH) else []
        elif message and kind in {HEADER, BODY}:
            message += [payload, b"\n"] if kind == HEADER else [payload]
    if message:
        yield b"".join(message)
