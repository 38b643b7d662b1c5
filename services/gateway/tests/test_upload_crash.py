"""A gateway that is killed in the middle of an upload: what it leaves is swept, and nothing else."""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.testing.eventually import eventually
from common.testing.http_server import free_port
from gateway.clients.object_store import ObjectStore
from gateway.usecases.store_upload import TEMPORARY_PREFIX

pytestmark = pytest.mark.integration

BLOCK = b"\x00\x00\x00\x18ftypmp42" + bytes(1024 * 1024 - 12)


async def test_a_killed_gateway_leaves_only_what_is_swept(
    make_settings: Any, auth: Any, tmp_path: Path, program_log: Any
) -> None:
    port = free_port()
    settings = make_settings(storage_url=f"file://{tmp_path}")
    environment = {
        "PATH": os.environ["PATH"],
        "AMQP_URL": settings.amqp_url.get_secret_value(),
        "ACCOUNTS_URL": settings.accounts_url,
        "STORAGE_URL": settings.storage_url,
        "HTTP_PORT": str(port),
        "OPERATION_KEY": settings.operation_key.get_secret_value(),
        "SERVICE_PRIVATE_KEY": settings.service_private_key.get_secret_value(),
        "SERVICE_PUBLIC_KEYS": json.dumps(settings.service_public_keys),
    }
    with program_log("gateway").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gateway", env=environment, stdout=log, stderr=log
        )
    try:
        _, writer = await eventually(lambda: connect(port))
        head = (
            f"POST /api/v1/media/upload HTTP/1.1\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\n"
            "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 400000000\r\n\r\n"
            '--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        )
        writer.write(head.encode())
        sending = asyncio.create_task(send(writer))
        await eventually(lambda: files(tmp_path) != [])
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.wait([sending])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    (left,) = files(tmp_path)
    assert left.startswith(f"{TEMPORARY_PREFIX}/")
    store = ObjectStore(f"file://{tmp_path}")
    assert await store.sweep(TEMPORARY_PREFIX, older_than=timedelta(minutes=1)) == 0
    assert await store.sweep(TEMPORARY_PREFIX, older_than=timedelta(seconds=-1)) == 1
    assert files(tmp_path) == []


async def connect(port: int) -> Any:
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None


async def send(writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(BLOCK)
            await writer.drain()
    except OSError:
        writer.transport.abort()


def files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
