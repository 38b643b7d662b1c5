"""W3C Trace Context: which traceparent goes on, and where it begins anew."""

from uuid import uuid4

import pytest
from structlog.contextvars import get_contextvars

from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.contracts.publisher import PublishCancelled
from common.contracts.traceparent import accepted_traceparent, new_traceparent, trace_id_of
from common.messaging.incoming import work_for
from common.telemetry.tracing import bound_trace, current_traceparent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("sent", "goes_on"),
    [
        (GOOD, GOOD),
        (f" {GOOD}\t", GOOD),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"cc-{TRACE}-{PARENT}-01", GOOD),
        (f"cc-{TRACE}-{PARENT}-01-what-may-come", GOOD),
    ],
)
def test_a_well_formed_one_goes_on(sent: str, goes_on: str) -> None:
    assert accepted_traceparent([sent]) == goes_on


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [GOOD, GOOD],
        [""],
        ["nonsense"],
        [GOOD.upper()],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"00-{TRACE}-{PARENT}-01-more"],
        [f"cc-{TRACE}-{PARENT}-01more"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE[:-1]}-{PARENT}-01"],
        [f"00-{TRACE}-{PARENT}"],
        [f"00-{TRACE}-{PARENT}-1"],
        [f"{GOOD}\n"],
        [f"{GOOD},{GOOD}"],
        ["00-" + "\u0661" * 32 + f"-{PARENT}-01"],
    ],
)
def test_anything_else_begins_a_new_trace(sent: list[str]) -> None:
    first, second = accepted_traceparent(sent), accepted_traceparent(sent)
    assert first != second
    for made in (first, second):
        assert accepted_traceparent([made]) == made
        assert trace_id_of(made) != TRACE


def test_the_id_of_a_trace() -> None:
    assert trace_id_of(GOOD) == TRACE
    assert trace_id_of(None) is None
    assert trace_id_of("nonsense") is None


def test_a_trace_is_worked_for_inside_its_block_alone() -> None:
    assert current_traceparent() is None
    with bound_trace(GOOD):
        assert (current_traceparent(), get_contextvars()["trace_id"]) == (GOOD, TRACE)
        inner = new_traceparent()
        with bound_trace(inner):
            assert (current_traceparent(), get_contextvars()["trace_id"]) == (inner, trace_id_of(inner))
        with bound_trace(None), bound_trace("nonsense"):
            assert current_traceparent() == GOOD
        assert get_contextvars()["trace_id"] == TRACE
    assert current_traceparent() is None
    assert "trace_id" not in get_contextvars()


def test_a_message_carries_the_trace_to_its_handler_and_to_what_it_causes() -> None:
    event = PublishCancelled(post_id=uuid4(), attempt=1, job_id=uuid4(), account_id=uuid4(), replica="r1")
    envelope = wrap(event, service="publisher", subject="x", context=Context(correlation_id="c", traceparent=GOOD))
    assert envelope.context.traceparent == GOOD
    with work_for(envelope):
        bound = get_contextvars()
        assert (bound["trace_id"], bound["correlation_id"], bound["message_id"]) == (TRACE, "c", str(envelope.id))
        assert current_traceparent() == GOOD
    with work_for(wrap(event, service="publisher", subject="x", context=Context())):
        assert current_traceparent() is None


def test_what_a_service_does_by_itself_begins_a_trace() -> None:
    first, second = Context.of_service("scheduler"), Context.of_service("scheduler")
    assert trace_id_of(first.traceparent) != trace_id_of(second.traceparent)
    assert trace_id_of(first.traceparent) is not None
