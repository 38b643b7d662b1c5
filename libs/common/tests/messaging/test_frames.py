"""Our frames against the client library's codec: what it writes we read, what we write it reads, in whatever portions."""

import asyncio
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pamqp.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from common.messaging.wire.frames import Confirm, Delivery, FrameSorter, Publication, ack_frames, publish_frames
from common.messaging.wire.tap import Tap, TappedProtocol

OURS, OTHER = 1, 2
LIMIT = 64


def marshal(channel: int, *frames: Any) -> bytes:
    return b"".join(pamqp.frame.marshal(frame, channel) for frame in frames)


def unmarshal(data: bytes) -> list[Any]:
    found = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        found.append((channel, frame))
        data = data[size:]
    return found


def delivered(tag: int, body: bytes, *, cut_at: int = LIMIT, headers: dict[str, Any] | None = None) -> bytes:
    exchange = "e" if headers is None else ""
    deliver = Basic.Deliver(consumer_tag="c", delivery_tag=tag, redelivered=False, exchange=exchange, routing_key=f"k.{tag}")
    properties = Basic.Properties(delivery_mode=2, headers=headers)
    pieces = [ContentBody(body[start : start + cut_at]) for start in range(0, len(body), cut_at)]
    return marshal(OURS, deliver, ContentHeader(body_size=len(body), properties=properties), *pieces)


def fed(portions: Iterable[bytes]) -> tuple[Sequence[Delivery], Sequence[Confirm], bytes]:
    sorter = FrameSorter()
    sorter.channel = OURS
    theirs = b"".join([sorter.sort(portion) for portion in portions])
    return sorter.deliveries, sorter.confirms, theirs


def test_a_publish_is_what_the_library_would_send() -> None:
    moment = int(datetime(2026, 11, 21, 7, tzinfo=UTC).timestamp())
    publication = Publication("cuepost.events", "scheduler.post.due.v1", b"x" * 150, "cuepost.scheduler.post.due.v1", moment)
    frames = unmarshal(publish_frames(OURS, publication, LIMIT))
    assert {channel for channel, _ in frames} == {OURS}
    (_, publish), (_, header), *bodies = frames
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("cuepost.events", "scheduler.post.due.v1", False)
    properties = header.properties
    assert (properties.content_type, properties.delivery_mode) == ("application/cloudevents+json", 2)
    assert properties.timestamp == datetime(2026, 11, 21, 7, tzinfo=UTC)
    assert properties.message_type == "cuepost.scheduler.post.due.v1"
    assert len(properties.message_id) == len(properties.correlation_id) == 32
    assert [len(body.value) for _, body in bodies] == [64, 64, 22]
    assert header.body_size == 150
    again = unmarshal(publish_frames(OURS, publication, LIMIT))[1][1].properties
    assert again.message_id != properties.message_id


def test_names_that_amqp_cannot_carry_are_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        publish_frames(OURS, Publication("e", "k" * 256, b"", "t", 0), LIMIT)


def test_acknowledgements_are_read_by_the_library() -> None:
    frames = unmarshal(ack_frames(OURS, [3, 5]))
    assert [(channel, frame.name, frame.delivery_tag, frame.multiple) for channel, frame in frames] == [
        (OURS, "Basic.Ack", 3, False),
        (OURS, "Basic.Ack", 5, False),
    ]


STREAM = (
    marshal(OURS, Channel.OpenOk(), Basic.Ack(7, True))
    + delivered(1, b"a" * 200)
    + marshal(0, Heartbeat())
    + delivered(2, b"")
    # Content of another channel, and of a method of ours that we leave to the library.
    + marshal(OTHER, Basic.Deliver("c", 9, False, "e", "k"), ContentHeader(body_size=1), ContentBody(b"z"))
    + marshal(OURS, Basic.Nack(8, False, False))
    + marshal(OURS, Basic.Return(312, "NO_ROUTE", "e", "k"), ContentHeader(body_size=1), ContentBody(b"r"))
    + delivered(3, b"c", headers={"x-delivery-count": 4})
)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=40).map(sorted))
def test_frames_are_sorted_whatever_the_portions(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(STREAM)]
    deliveries, confirms, theirs = fed(STREAM[start:end] for start, end in pairwise(bounds))
    assert [(one.queue, one.tag, one.routing_key, one.body) for one in deliveries] == [
        ("c", 1, "k.1", b"a" * 200),
        ("c", 2, "k.2", b""),
        ("c", 3, "k.3", b"c"),
    ]
    assert [(one.has_headers, one.exchange) for one in deliveries] == [(False, "e"), (False, "e"), (True, "")]
    assert deliveries[2].properties.headers == {"x-delivery-count": 4}
    assert confirms == [Confirm(7, True, True), Confirm(8, False, False)]
    assert [frame.name for _, frame in unmarshal(theirs)] == [
        "Channel.OpenOk",
        "Heartbeat",
        "Basic.Deliver",
        "ContentHeader",
        "ContentBody",
        "Basic.Return",
        "ContentHeader",
        "ContentBody",
    ]


def test_before_a_channel_is_ours_everything_is_the_librarys() -> None:
    sorter = FrameSorter()
    assert sorter.sort(STREAM) == STREAM
    assert (sorter.deliveries, sorter.confirms) == ([], [])


def test_names_that_are_no_text_come_as_names_that_nobody_has() -> None:
    (delivery,), _, theirs = fed([delivered(1, b"a").replace(b"\1e", b"\1\xff").replace(b"k.1", b"k.\xff")])
    assert (delivery.exchange, delivery.routing_key, theirs) == ("\ufffd", "k.\ufffd", b"")


@pytest.mark.parametrize("noise", [b"AMQP\x00\x00\x09\x01", struct.pack(">BHI", 1, 1, 2) + b"xx!more"])
def test_what_is_no_amqp_goes_to_the_library_from_there_on(noise: bytes) -> None:
    good = delivered(1, b"a")
    deliveries, _, theirs = fed([good + noise[:8], noise[8:] + b"and the rest", good])
    assert [one.tag for one in deliveries] == [1]
    assert theirs == noise + b"and the rest" + good


async def test_a_connection_busy_with_ours_alone_looks_alive_to_the_library() -> None:
    """The library gives up a connection on which it sees no frame for half a minute."""
    heard: list[Delivery] = []
    reader = asyncio.StreamReader()
    tap = Tap(on_deliveries=heard.extend)
    tap.listen(OURS)
    protocol = TappedProtocol(reader, asyncio.get_running_loop(), tap)
    for tag in range(3):
        protocol.data_received(delivered(tag, b"a"))
    protocol.data_received(marshal(0, Heartbeat()))
    protocol.eof_received()
    assert [one.tag for one in heard] == [0, 1, 2]
    # One of ours for three deliveries within a second, and the broker's own.
    assert [frame.name for _, frame in unmarshal(await reader.read())] == ["Heartbeat", "Heartbeat"]
