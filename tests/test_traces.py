"""A caller's trace in what its request caused, and a trace of its own for what the schedule caused."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from common.contracts.traceparent import trace_id_of
from system.operator import Operator
from system.small_video import make_small_video
from system.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def programs_that_logged(operator: Operator, trace_id: str) -> set[str]:
    """Return the services that have a line about this trace in their logs."""
    found = set()
    for path in operator.stack.paths.log.iterdir():
        for line in path.read_bytes().splitlines():
            if trace_id.encode() in line and line.startswith(b"{"):
                assert orjson.loads(line)["trace_id"] == trace_id
                found.add(orjson.loads(line)["service"])
    return found


def test_a_trace_goes_from_the_request_through_command_and_event_and_a_due_post_has_its_own(
    operator: Operator, tmp_path: Path
) -> None:
    account, _ = operator.account()
    media = operator.media(make_small_video(tmp_path / "traced.mp4").path)
    operator.user.headers["traceparent"] = TRACEPARENT
    post = operator.schedule(account, media)
    del operator.user.headers["traceparent"]
    assert operator.wait_final(post) == "published"
    asked = operator.wait_event(post, "scheduler.post.scheduled")
    assert asked["traceparent"] == TRACEPARENT

    def told() -> list[dict[str, Any]]:
        return [event for event in operator.events.about(post) if event["id"] != asked["id"]]

    operator.wait_event(post, "scheduler.post.published")
    of_publishing = {trace_id_of(event["traceparent"]) for event in told()}
    assert len(of_publishing) == 1, of_publishing
    (trace_id,) = of_publishing
    assert trace_id not in (None, trace_id_of(TRACEPARENT))
    assert {"publisher.publish.started", "publisher.publish.succeeded", "scheduler.post.published"} <= {
        event["type"].removeprefix("cuepost.").removesuffix(".v1") for event in told()
    }
    wait_for("the logs", lambda: {"gateway", "scheduler"} <= programs_that_logged(operator, TRACEPARENT.split("-")[1]))
    wait_for("the logs", lambda: {"publisher", "accounts", "scheduler"} <= programs_that_logged(operator, str(trace_id)))
