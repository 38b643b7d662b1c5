"""The log tells what has happened, so that a post can be followed through all services, and nothing that did not."""

from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from common.contracts.context import Context
from common.contracts.publisher import PublishCancelled
from common.messaging.outbox import LOGGED_ONE_BY_ONE

pytestmark = pytest.mark.integration


def cancelled() -> PublishCancelled:
    return PublishCancelled(post_id=uuid4(), attempt=2, job_id=uuid4(), account_id=uuid4(), replica="r1")


async def test_an_event_is_logged_once_it_is_committed(parts: Any) -> None:
    event = cancelled()
    with capture_logs() as logs:
        async with parts.database.transaction() as tx:
            await parts.outbox.emit(tx, event, subject=str(event.post_id), context=Context(correlation_id="request-1"))
            assert not logs
    (line,) = logs
    assert (line["event"], line["key"], line["subject"]) == ("event", PublishCancelled.KEY, str(event.post_id))
    assert (line["attempt"], line["origin_id"]) == (2, "request-1")


async def test_what_was_rolled_back_is_not_told(parts: Any) -> None:
    async def fail() -> None:
        async with parts.database.transaction() as tx:
            await parts.outbox.emit(tx, cancelled(), subject="s", context=Context())
            raise RuntimeError("no")

    with capture_logs() as logs, pytest.raises(RuntimeError):
        await fail()
    assert not logs


async def test_many_events_are_one_line(parts: Any) -> None:
    envelopes = [parts.outbox.envelope(cancelled(), subject="s", context=Context()) for _ in range(LOGGED_ONE_BY_ONE + 1)]
    with capture_logs() as logs:
        async with parts.database.transaction() as tx:
            await parts.outbox.emit_all(tx, envelopes)
    assert logs == [{"event": "events", "count": len(envelopes), "keys": [PublishCancelled.KEY], "log_level": "info"}]
