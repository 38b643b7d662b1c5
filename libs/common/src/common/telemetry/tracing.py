"""The trace that is worked for: bound to a request or message, in its log lines, sent along with internal calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from structlog.contextvars import bound_contextvars

from common.contracts.traceparent import trace_id_of

HEADER = "traceparent"
_current: ContextVar[str | None] = ContextVar("cuepost_traceparent", default=None)


@contextmanager
def bound_trace(traceparent: str | None) -> Iterator[None]:
    """Work for this trace inside the block: log lines have its `trace_id`, internal calls its `traceparent`.

    What is not well-formed, or None, changes nothing.
    """
    trace_id = trace_id_of(traceparent)
    if trace_id is None:
        yield
        return
    token = _current.set(traceparent)
    try:
        with bound_contextvars(trace_id=trace_id):
            yield
    finally:
        _current.reset(token)


def current_traceparent() -> str | None:
    """Return the traceparent of what is worked for now."""
    return _current.get()
