"""For tests: a web server on loopback that media are fetched from, and that can be slow, broken or elsewhere."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_HEAD_LIMIT_SECONDS = 10.0


@dataclass
class Resource:
    """What is at a path. ``stop_after`` bytes it stalls until ``go_on`` is set; ``cut_after`` bytes the connection ends."""

    data: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stop_after: int | None = None
    cut_after: int | None = None
    announce_length: bool = True
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


class MediaHost:
    """Resources by path; ``requested`` are the paths asked for, in order."""

    def __init__(self) -> None:
        self.base_url = ""
        self.requested: list[str] = []
        self._resources: dict[str, Resource] = {}

    def put(self, path: str, resource: Resource | bytes) -> str:
        """Serve something at ``path`` (beginning with a slash) and return its address."""
        self._resources[path] = resource if isinstance(resource, Resource) else Resource(resource)
        return f"{self.base_url}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        try:
            async with asyncio.timeout(_HEAD_LIMIT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode("latin-1")
            self.requested.append(path)
            await _send(writer, self._resources.get(path, Resource(status=404)))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, resource: Resource) -> None:
    lines = [f"HTTP/1.1 {resource.status} -", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in resource.headers.items()]
    if resource.announce_length:
        lines.append(f"Content-Length: {len(resource.data)}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    data = resource.data[: resource.cut_after]
    if resource.stop_after is not None:
        writer.write(data[: resource.stop_after])
        await writer.drain()
        data = data[resource.stop_after :]
        await resource.go_on.wait()
    writer.write(data)
    await writer.drain()


@asynccontextmanager
async def media_host() -> AsyncIterator[MediaHost]:
    """Serve a media host on a free port of 127.0.0.1 until the block ends."""
    host = MediaHost()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(host.answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
