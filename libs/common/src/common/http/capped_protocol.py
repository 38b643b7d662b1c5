"""Uvicorn's HTTP protocol with an end to every request head: httptools itself takes any number of header bytes, forever."""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from common.errors import Problem
from common.http.cutting import EXTENSION, abort
from common.http.problems import problem_response
from common.http.request_id import HEADER, choose_request_id

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_SECONDS = 15.0
LINGER_SECONDS = 1.0
"""How long a refused client may go on sending: closing at once would reset the connection and lose the answer."""
TAKE_SECONDS = 300.0
"""A client that takes nothing for so long, of what waits for it, is cut off: closing alone would wait for it for ever.

It is long because the systems between tell of what a slow reader took only now and then."""

log = structlog.get_logger(__name__)


class _HeadTooLarge(Exception):
    """Ends the parsing of a head that came in one piece and is larger than allowed."""


class CappedHttpProtocol(HttpToolsProtocol):
    """Refuses, as problem+json and then closing: 431 heads beyond 64 KiB, 408 heads that take more than 15 s, 400 what is no HTTP.

    The cap also holds for whatever else brings neither a head nor body bytes to an end: trailers and chunk extensions.

    A client that takes nothing of what waits for it, for five minutes, is cut off; one that reads slowly is not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fruitless_bytes = 0
        self._in_message = False
        self._too_large = False
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._take_timer: asyncio.TimerHandle | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Start waiting for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection."""
        self._is_lost = True
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse in pieces of at most the cap, so that one large read cannot overrun it."""
        for start in range(0, len(data), MAX_HEAD_BYTES):
            if self._refused:
                return
            if not self._in_message:
                self._await_head()
            piece = data if len(data) <= MAX_HEAD_BYTES else data[start : start + MAX_HEAD_BYTES]
            self._fruitless_bytes += len(piece)
            super().data_received(piece)
            if self._fruitless_bytes > MAX_HEAD_BYTES and not self._refused:
                self._refuse(_header_too_large())

    def on_message_begin(self) -> None:
        """Begin waiting for the rest of a head; the request will be able to cut its connection (`common.http.cutting`)."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"transport": self.transport}}
        self._await_head()

    def on_headers_complete(self) -> None:
        """Start the request, or refuse it when its head is too large."""
        self._stop_waiting()
        self._fruitless_bytes = 0
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._too_large = True
            raise _HeadTooLarge
        self._in_message = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that body bytes came."""
        self._fruitless_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request has arrived as a whole."""
        self._fruitless_bytes = 0
        self._in_message = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Note that much waits for the client: nothing is added until it has taken some."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Note that it has."""
        super().resume_writing()
        self._stop_watching()
        self._watch_if_closing()

    def on_response_complete(self) -> None:
        """Go on with the connection, which may be closing with its last answer."""
        super().on_response_complete()
        self._watch_if_closing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no request comes any more."""
        super().timeout_keep_alive_handler()
        self._watch_if_closing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser did not take."""
        del msg
        detail = "This is not a valid HTTP request."
        self._refuse(_header_too_large() if self._too_large else Problem(400, "bad_request", detail))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self._head_overdue)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_if_closing(self) -> None:
        if self.transport.is_closing():
            self._watch()

    def _watch(self) -> None:
        """Look later whether the client has taken something of what waits for it: there is less then, for nothing is added."""
        if self._take_timer is None and not self._is_lost:
            waiting = self.transport.get_write_buffer_size()
            self._take_timer = self.loop.call_later(TAKE_SECONDS, self._require_less, waiting)

    def _stop_watching(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None

    def _require_less(self, waiting: int) -> None:
        self._take_timer = None
        if self.transport.get_write_buffer_size() < waiting:
            self._watch()
            return
        log.info("client_stalled", seconds=TAKE_SECONDS, waiting=waiting)
        abort(self.transport)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._unanswered() is not None:
            # The start of a next request must not cut off the answer that is still on its way.
            self._await_head()
            return
        seconds = f"{HEAD_TIMEOUT_SECONDS:g}"
        self._refuse(Problem(408, "request_timeout", f"The head of the request was not complete within {seconds} seconds."))

    def _refuse(self, problem: Problem) -> None:
        """Answer, unless another answer is on its way, and close: at once, or when the client had time to read it."""
        self._refused = True
        self._stop_waiting()
        self._unset_keepalive_if_required()
        request_id = choose_request_id({"headers": self.headers or []})
        log.info("request_refused", code=problem.code, correlation_id=request_id)
        if not self._may_answer():
            self.transport.close()
            self._watch_if_closing()
            return
        cycle = self._unanswered()
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        response = problem_response(problem, request_id)
        lines = [b"%b: %b\r\n" % pair for pair in response.raw_headers]
        ending = f"{HEADER.lower()}: {request_id}\r\nconnection: close\r\n\r\n".encode("ascii")
        status = f"HTTP/1.1 {problem.status} {problem.title}\r\n".encode("ascii", "replace")
        self.transport.write(b"".join([status, *lines, ending, bytes(response.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self._close)

    def _close(self) -> None:
        self.transport.close()
        self._watch_if_closing()

    def _unanswered(self) -> RequestResponseCycle | None:
        """Return the latest request of the connection while its answer is not complete."""
        cycle: Any = self.cycle  # None before the first request, which the base class does not declare
        return cycle if cycle is not None and not cycle.response_complete else None

    def _may_answer(self) -> bool:
        """Tell whether the next bytes of the connection would be the answer to the request being refused."""
        cycle = self._unanswered()
        return cycle is None or (self._in_message and not cycle.response_started and not self.pipeline)


def _header_too_large() -> Problem:
    return Problem(431, "header_too_large", f"The head of the request is larger than {MAX_HEAD_BYTES // 1024} KiB.")
