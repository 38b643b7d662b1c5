"""AMQP 0-9-1 frames of the busiest paths: publishing in bulk with confirms, deliveries and their acknowledgements.

Everything else on a connection (handshake, channels, declarations, heartbeats, errors) is the client library's. Source: AMQP 0-9-1
specification, 2.3 (framing) and 4.2 (grammar); the numbers of classes and methods are in its appendix.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from pamqp.commands import Basic
from pamqp.header import ContentHeader

from common.contracts.envelope import CONTENT_TYPE

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
HEAD_SIZE = 7
"""Octets before a frame's payload; one more, `END`, follows it."""

_HEAD = Struct(">BHI")
_METHOD = Struct(">HH")
_CONTENT = Struct(">HHQ")
_TAG_AND_BITS = Struct(">QB")
_TAG = Struct(">Q")
_BASIC, _PUBLISH, _DELIVER, _ACK, _NACK = 60, 40, 60, 80, 120
_END = bytes([END])
_KINDS = frozenset({METHOD, HEADER, BODY, HEARTBEAT})

_HAS_HEADERS = 0x2000
_PERSISTENT = b"\x02"
# content-type, delivery-mode, correlation-id, message-id, timestamp, type: in this order on the wire.
_FLAGS = (0x8000 | 0x1000 | 0x0400 | 0x0080 | 0x0040 | 0x0020).to_bytes(2)
_RANDOM_OCTETS = 16


class Publication(NamedTuple):
    """A message to publish; `moment` is in seconds since 1970.

    It is persistent and has the usual properties, unless it brings its own (as they stand in a content header, flags first).
    """

    exchange: str
    routing_key: str
    body: bytes
    message_type: str = ""
    moment: int = 0
    properties: bytes | None = None


class Confirm(NamedTuple):
    """The broker's word about one delivery tag, or about all up to it; not `is_taken`: it refused."""

    tag: int
    multiple: bool
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came in.

    `queue` is its consumer's tag (we name consumers after their queues), `header` the payload of its content header frame.
    `exchange` is the one it was published to first, whatever others that one handed it to; "" is the default exchange. Of a dead
    letter it is the exchange that its queue sent it to.
    """

    queue: str
    tag: int
    routing_key: str
    header: bytes
    body: bytes
    exchange: str = ""

    @property
    def has_headers(self) -> bool:
        """Whether it carries a table of headers: messages fresh from a relay do not."""
        return bool(self.header[12] << 8 & _HAS_HEADERS)

    @property
    def properties(self) -> Basic.Properties:
        """The AMQP properties, decoded by the library."""
        header = ContentHeader()
        header.unmarshal(self.header)
        return header.properties


def publish_frames(channel: int, publication: Publication, body_limit: int) -> bytes:
    """Return all frames of one publish; the body is cut at `body_limit` octets.

    Message and correlation id are fresh random values where the usual properties are taken. Raises ValueError for names that AMQP
    cannot carry (over 255 octets).
    """
    exchange, routing_key, body, message_type, moment, properties = publication
    if properties is None:
        random = _short(secrets.token_hex(_RANDOM_OCTETS))
        before, after = _properties(message_type)
        properties = before + random + random + _TAG.pack(moment) + after
    header = _CONTENT.pack(_BASIC, 0, len(body)) + properties
    parts = [_publish_method(channel, exchange, routing_key), _HEAD.pack(HEADER, channel, len(header)), header, _END]
    for start in range(0, len(body), body_limit):
        piece = body[start : start + body_limit]
        parts += (_HEAD.pack(BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def ack_frames(channel: int, tags: Iterable[int]) -> bytes:
    """Return the acknowledgements of deliveries, one each: what lies between them may still be in hand."""
    head = _HEAD.pack(METHOD, channel, _METHOD.size + _TAG_AND_BITS.size) + _METHOD.pack(_BASIC, _ACK)
    return b"".join([head + _TAG_AND_BITS.pack(tag, 0) + _END for tag in tags])


@lru_cache(maxsize=256)
def _publish_method(channel: int, exchange: str, routing_key: str) -> bytes:
    arguments = _METHOD.pack(_BASIC, _PUBLISH) + b"\0\0" + _short(exchange) + _short(routing_key) + b"\0"
    return _HEAD.pack(METHOD, channel, len(arguments)) + arguments + _END


@lru_cache(maxsize=256)
def _properties(message_type: str) -> tuple[bytes, bytes]:
    """Return what precedes the random ids and what follows the time."""
    return _FLAGS + _short(CONTENT_TYPE) + _PERSISTENT, _short(message_type)


def _short(text: str) -> bytes:
    octets = text.encode()
    return bytes([len(octets)]) + octets


class _Coming:
    """A delivery whose content is still arriving."""

    __slots__ = ("_missing", "_pieces", "exchange", "header", "queue", "routing_key", "tag")

    def __init__(self, queue: str, tag: int, routing_key: str, exchange: str) -> None:
        self.queue = queue
        self.tag = tag
        self.routing_key = routing_key
        self.exchange = exchange
        self.header: bytes | None = None
        self._missing = 0
        self._pieces: list[bytes] = []

    def take(self, kind: int, payload: bytes) -> Delivery | None:
        """Take the next content frame; returns the delivery when it is whole."""
        if kind == HEADER:
            self.header = payload
            self._missing = _CONTENT.unpack_from(payload)[2]
        else:
            self._pieces.append(payload)
            self._missing -= len(payload)
        if self.header is None or self._missing > 0:
            return None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return Delivery(self.queue, self.tag, self.routing_key, self.header, body, self.exchange)


class FrameSorter:
    """Sorts what a connection receives: deliveries and confirms of one channel for us, all else for the library.

    Bytes arrive in any portions. `deliveries` and `confirms` gather what was found; who reads them empties them.
    """

    def __init__(self) -> None:
        self.channel = 0
        """The channel whose frames are ours; 0 while there is none."""
        self.deliveries: list[Delivery] = []
        self.confirms: list[Confirm] = []
        self._rest = b""
        self._coming: _Coming | None = None
        self._is_readable = True

    def sort(self, data: bytes) -> bytes:
        """Take what was received and return what is the library's, in whole frames."""
        if not self._is_readable:
            return data
        if self._rest:
            data, self._rest = self._rest + data, b""
        position = theirs_from = 0
        theirs: list[bytes] = []
        while len(data) - position > HEAD_SIZE:
            kind, channel, size = _HEAD.unpack_from(data, position)
            after = position + HEAD_SIZE + size + 1
            if kind not in _KINDS or (after <= len(data) and data[after - 1] != END):
                # No AMQP, or a broken stream: the library says what is wrong with it and ends the connection.
                self._is_readable = False
                return b"".join([*theirs, data[theirs_from:]])
            if after > len(data):
                break
            if channel == self.channel and channel and self._is_ours(kind, data, position + HEAD_SIZE, after - 1):
                theirs.append(data[theirs_from:position])
                theirs_from = after
            position = after
        self._rest = data[position:]
        return b"".join([*theirs, data[theirs_from:position]])

    def _is_ours(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Keep a frame's content if it is one of ours; tells whether it is."""
        if kind != METHOD:
            if self._coming is None:
                return False
            delivery = self._coming.take(kind, data[start:end])
            if delivery is not None:
                self.deliveries.append(delivery)
                self._coming = None
            return True
        group, method = _METHOD.unpack_from(data, start)
        if group != _BASIC:
            return False
        arguments = start + _METHOD.size
        if method == _DELIVER:
            self._coming = _deliver(data, arguments)
        elif method in {_ACK, _NACK}:
            tag, bits = _TAG_AND_BITS.unpack_from(data, arguments)
            self.confirms.append(Confirm(tag, bool(bits & 1), method == _ACK))
        return method in {_DELIVER, _ACK, _NACK}


def _deliver(data: bytes, start: int) -> _Coming:
    """Read consumer tag, delivery tag, redelivered, exchange and routing key."""
    tag_at = start + 1 + data[start]
    (tag,) = _TAG.unpack_from(data, tag_at)
    exchange_at = tag_at + _TAG.size + 1
    key_at = exchange_at + 1 + data[exchange_at]
    # Names that somebody else chose: one that is no text is none of ours, and must not end the connection.
    exchange = data[exchange_at + 1 : key_at].decode(errors="replace")
    key = data[key_at + 1 : key_at + 1 + data[key_at]].decode(errors="replace")
    return _Coming(data[start + 1 : tag_at].decode(), tag, key, exchange)
