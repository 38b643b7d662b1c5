"""A web server that files are fetched from, on a real socket, and that does whatever its script says."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

PIECE_BYTES = 65_536
HEAD = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"


def video_bytes(size: int, seed: int = 1) -> bytes:
    """Return so many bytes that begin like an MP4 file."""
    return HEAD + random.Random(seed).randbytes(size - len(HEAD))  # noqa: S311 - test data


@dataclass
class Act:
    """One answer; with `ranges`, a request for the rest gets it, if its If-Range names this very version.

    `cut_after` bytes of the body the connection ends (with `resets` roughly), `stop_after` bytes nothing more comes until `go_on`
    is set. `announced` is the length it claims (None: none, the connection's end is the file's); `drip` are the seconds between two
    bytes; `tail` comes after the end.
    """

    data: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None
    last_modified: str | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    cut_after: int | None = None
    resets: bool = False
    stop_after: int | None = None
    announced: int | None = -1
    drip: float | None = None
    tail: bytes = b""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Asked:
    """A request: its path with query, and its headers in lower case."""

    path: str
    headers: dict[str, str]


class FileHost:
    """Serves scripts by path: a request gets the next act, the last one stays. `asked` are the requests so far."""

    def __init__(self, drip_head: float | None = None) -> None:
        self.base_url = ""
        self.asked: list[Asked] = []
        self.reached = asyncio.Event()
        """Set when an act has stopped."""
        self._drip_head = drip_head
        self._scripts: dict[str, list[Act]] = {}

    def put(self, path: str, *acts: Act) -> str:
        """Serve these acts at a path and return its address."""
        self._scripts[path] = list(acts)
        return f"{self.base_url}{path}"

    def asked_for(self, path: str) -> list[Asked]:
        """Return the requests for a path, in order."""
        return [asked for asked in self.asked if asked.path.partition("?")[0] == path]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            asked = Asked(lines[0].split(" ")[1], headers)
            self.asked.append(asked)
            script = self._scripts.get(asked.path.partition("?")[0], [Act(status=404)])
            await self._play(script.pop(0) if len(script) > 1 else script[0], asked, writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _play(self, act: Act, asked: Asked, writer: asyncio.StreamWriter) -> None:
        first = _first_byte(act, asked)
        body = act.data[first:] if first is not None else act.data
        status = 206 if first is not None else act.status
        lines = [f"HTTP/1.1 {status} -", "Connection: close", f"Date: {formatdate(usegmt=True)}"]
        for name, value in (("ETag", act.etag), ("Last-Modified", act.last_modified)):
            if value is not None:
                lines.append(f"{name}: {value}")
        lines += [f"{name}: {value}" for name, value in act.headers.items()]
        if first is not None:
            lines.append(f"Content-Range: bytes {first}-{len(act.data) - 1}/{len(act.data)}")
        if act.announced is not None:
            lines.append(f"Content-Length: {len(body) if act.announced < 0 else act.announced}")
        await _drip("\r\n".join([*lines, "", ""]).encode(), self._drip_head, writer)
        await self._send(act, body, writer)

    async def _send(self, act: Act, body: bytes, writer: asyncio.StreamWriter) -> None:
        if act.drip is not None:
            await _drip(body, act.drip, writer)
        elif act.cut_after is not None:
            writer.write(body[: act.cut_after])
            await writer.drain()
            if act.resets:
                writer.transport.abort()
        else:
            stop = len(body) if act.stop_after is None else act.stop_after
            await _flow(body[:stop], writer)
            if act.stop_after is not None:
                self.reached.set()
                await act.go_on.wait()
            await _flow(body[stop:] + act.tail, writer)


async def _flow(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Send bytes in pieces: what a large file's reader does not take yet is not copied into a buffer here."""
    for first in range(0, len(data), PIECE_BYTES):
        writer.write(data[first : first + PIECE_BYTES])
        await writer.drain()


async def _drip(data: bytes, seconds: float | None, writer: asyncio.StreamWriter) -> None:
    """Send bytes, one by one with a pause after each unless there is none."""
    for piece in [data] if seconds is None else [bytes([byte]) for byte in data]:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(seconds or 0)


def _first_byte(act: Act, asked: Asked) -> int | None:
    """Return where the rest begins that a request asks for and gets."""
    wanted = asked.headers.get("range")
    if wanted is None or not act.ranges or act.status != 200:
        return None
    condition = asked.headers.get("if-range")
    if act.heeds_if_range and condition is not None and condition not in {act.etag, act.last_modified}:
        return None
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


@asynccontextmanager
async def file_host(
    address: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, port: int = 0, drip_head: float | None = None
) -> AsyncIterator[FileHost]:
    """Serve on a port of a loopback address until the block ends; `drip_head` are the seconds between two bytes of the headers."""
    host, tasks = FileHost(drip_head), set[asyncio.Task[None]]()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(host.answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, address, port, ssl=tls)
    scheme = "http" if tls is None else "https"
    host.base_url = f"{scheme}://{address}:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
