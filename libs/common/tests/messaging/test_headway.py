"""Whether what had waited when a consumer connected is handled, as far as one consumer can know."""

from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from pydantic import SecretStr

from common.messaging import headway as module
from common.messaging.headway import Found, Headway
from common.messaging.topology import QueueSpec
from common.messaging.wire.consuming import ConsumingLink


def found(messages: int = 0, consumers: int = 0) -> dict[str, Found]:
    return {"a": Found(messages, consumers), "other": Found(9, 9)}


async def test_where_nothing_waited_it_is_behind_with_nothing() -> None:
    headway = Headway("a")
    assert (headway.is_connected, headway.is_behind()) == (False, False)
    headway.begin(found())
    assert (headway.is_connected, headway.is_behind()) == (True, False)
    headway.take("a")(None)
    headway.end()
    headway.take("a")(None)
    assert (headway.is_connected, headway.is_behind()) == (False, False)


async def test_a_consumer_alone_is_through_once_all_that_waited_is_settled() -> None:
    headway = Headway("a")
    headway.begin(found(2))
    first = headway.take("a")
    first(None)
    assert headway.is_behind()
    second = headway.take("a")
    assert headway.is_behind()
    headway.take("a")
    headway.take("other")
    second(None)
    assert not headway.is_behind()
    # What is settled of a connection before says nothing of the next one.
    headway.begin(found(1))
    late = headway.take("a")
    headway.end()
    headway.begin(found(1))
    late(None)
    assert headway.is_behind()


@pytest.mark.parametrize("waiting", [0, 2])
async def test_beside_others_it_is_through_once_nothing_has_come_for_a_while(
    monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """They took the rest, and may have it in hand still."""
    headway = Headway("a")
    headway.begin(found(waiting, consumers=1))
    mine = headway.take("a")
    assert headway.is_behind()
    with monkeypatch.context() as changed:
        changed.setattr(module, "QUIET_S", 0.0)
        assert headway.is_behind() is bool(waiting), "what it has in hand itself is no quiet"
        mine(None)
        assert not headway.is_behind()
    assert not headway.is_behind()


async def test_what_is_never_settled_holds_up_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    headway = Headway("a")
    headway.begin(found(1))
    headway.take("a")
    assert headway.is_behind()
    with monkeypatch.context() as changed:
        changed.setattr(module, "PATIENCE_S", 0.0)
        assert not headway.is_behind()
    assert not headway.is_behind()


async def test_a_connection_over_which_nothing_can_be_consumed_is_none() -> None:
    headway = Headway("a")
    link = ConsumingLink(
        SecretStr("amqp://nobody"),
        name="x",
        queues=[QueueSpec("a", ())],
        take=lambda *_: None,
        on_lost=headway.end,
        on_found=headway.begin,
    )
    link._tap()
    channel: Any = AsyncMock(on_consumer_cancel_callbacks=set())
    channel.queue_declare.return_value = Mock(message_count=0, consumer_count=0)
    channel.basic_consume.side_effect = ConnectionError
    with pytest.raises(ConnectionError):
        await link._prepare(Mock(channel=channel))
    assert channel.basic_consume.called
    assert not headway.is_connected
