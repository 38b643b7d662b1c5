"""An upload of 500 MB through the gateway against a plain copy over the loopback to the same disk: speed and memory."""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import psutil
from aio_pika.abc import AbstractIncomingMessage
from fastapi import FastAPI

from bench.figures import verdict
from bench.programs import gateway_alone
from common.contracts.envelope import Envelope
from common.contracts.scheduler import RegisterMedia
from common.messaging.reply import Reply
from common.messaging.topology import COMMANDS
from common.testing.http_server import serving
from common.testing.keys import UserKeys
from common.testing.servers import TestServers

SIZE, ROUNDS = 500 * 1000 * 1000, 5
GOAL_SHARE, GOAL_GROWTH_MB = 0.40, 50.0
BLOCK = b"\x00\x00\x00\x18ftypmp42" + os.urandom(1024 * 1024 - 12)
BOUNDARY = "------------------------d74496d66958873e"
"""As curl makes them."""
RECEIVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
buffer = memoryview(bytearray(1024 * 1024))
while True:
    peer, _ = listener.accept()
    with peer, open(sys.argv[1], "wb", buffering=0) as file:
        while got := peer.recv_into(buffer):
            file.write(buffer[:got])
        peer.sendall(b"x")
"""


async def run(servers: TestServers) -> None:
    """Measure both, in turns, on one disk; print the table."""
    with tempfile.TemporaryDirectory(prefix="cuepost-bench-") as folder:
        root = Path(folder)
        async with _gateway(servers.rabbitmq_url, root / "store") as (address, process, auth), _receiver(root) as port:
            await asyncio.to_thread(_upload, address, auth, 10_000_000)
            copies, uploads, growths = [], [], []
            for _ in range(ROUNDS):
                copies.append(await asyncio.to_thread(_copy, port, SIZE))
                with _memory(process) as growth:
                    uploads.append(await asyncio.to_thread(_upload, address, auth, SIZE))
                growths.append(growth())
                _empty(root)
    _show(copies, uploads, growths)


def _show(copies: list[float], uploads: list[float], growths: list[float]) -> None:
    copy, upload, growth = statistics.median(copies), statistics.median(uploads), max(growths)
    share = upload / copy
    print(f"\nUpload of {SIZE / 1e6:.0f} MB, median of {ROUNDS} rounds; sha256, multipart and storage included\n")
    print("| | measured | goal | |\n|---|---|---|---|")
    print(f"| copy over the loopback to the same disk | {copy:.0f} MB/s | | |")
    word = verdict("upload", share >= GOAL_SHARE)
    print(f"| through the gateway | {upload:.0f} MB/s = {share:.0%} | >= {GOAL_SHARE:.0%} | {word} |")
    word = verdict("growth", growth < GOAL_GROWTH_MB)
    print(f"| growth of the gateway's memory (largest) | {growth:.1f} MB | < {GOAL_GROWTH_MB:g} MB | {word} |")


@asynccontextmanager
async def _gateway(amqp_url: str, folder: Path) -> AsyncIterator[tuple[str, int, str]]:
    """Run a gateway between a stand-in for accounts (its keys) and one for the scheduler (its word that a file is fine)."""
    keys, app = UserKeys(), FastAPI(openapi_url=None)

    @app.get("/.well-known/jwks.json")
    async def jwks() -> dict[str, Any]:
        return keys.jwks()

    @app.get("/internal/revocations")
    async def revocations() -> dict[str, Any]:
        return {"items": [], "next_since": "2026-01-01T00:00:00Z", "has_more": False}

    async with serving(app) as accounts_url, await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(COMMANDS.name, type="topic", durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, routing_key=RegisterMedia.KEY)

        async def answer(message: AbstractIncomingMessage) -> None:
            media_id = Envelope.model_validate_json(message.body).data["media_id"]
            reply = Reply(status=201, body={"id": media_id}).model_dump_json().encode()
            body = aio_pika.Message(reply, correlation_id=message.correlation_id)
            await channel.default_exchange.publish(body, routing_key=message.reply_to or "")

        await queue.consume(answer, no_ack=True)
        async with gateway_alone(accounts_url, amqp_url, folder) as (address, process):
            yield address, process, keys.authorization()["Authorization"]


@asynccontextmanager
async def _receiver(folder: Path) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RECEIVER, str(folder / "copy"), stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the receiver has no output")
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def _copy(port: int, size: int) -> float:
    """Return the megabytes per second of a plain copy."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as peer:
        begin = time.perf_counter()
        _send(peer, size)
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)
        return size / (time.perf_counter() - begin) / 1e6


def _upload(address: str, auth: str, size: int) -> float:
    """Return the megabytes per second of an upload, from the first byte to the answer."""
    host, port = address.removeprefix("http://").split(":")
    head = f"--{BOUNDARY}\r\n".encode() + (
        b'Content-Disposition: form-data; name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
    )
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    request = (
        f"POST /api/v1/media/upload HTTP/1.1\r\nHost: {host}\r\nAuthorization: {auth}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(head) + size + len(tail)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=120) as peer:
        begin = time.perf_counter()
        peer.sendall(request.encode() + head)
        _send(peer, size)
        peer.sendall(tail)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
        seconds = time.perf_counter() - begin
    if not answer.startswith(b"HTTP/1.1 201 "):
        raise RuntimeError(f"the upload was not taken: {json.dumps(answer.decode(errors='replace')[:500])}")
    return size / seconds / 1e6


def _send(peer: socket.socket, size: int) -> None:
    whole, rest = divmod(size, len(BLOCK))
    for _ in range(whole):
        peer.sendall(BLOCK)
    peer.sendall(BLOCK[:rest])


@contextmanager
def _memory(process: int) -> Iterator[Callable[[], float]]:
    """Watch a process; afterwards the function tells by how many megabytes it grew at most."""
    watched, done, seen = psutil.Process(process), threading.Event(), [_bytes(psutil.Process(process))]

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(_bytes(watched))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: (max(seen) - seen[0]) / 1e6
    finally:
        done.set()
        thread.join()


def _bytes(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return int(getattr(full, "pss", 0) or full.uss)


def _empty(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
