"""A real server of S3's API on a free port (moto's), for what is stored in a bucket."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import pytest

from common.testing.http_server import free_port

START_PATIENCE_S = 60.0
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """An empty bucket: its address for `STORAGE_URL`, and a look behind the scenes over plain HTTP."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        """The bucket with a prefix, as `STORAGE_URL` names it."""
        return f"s3://{self.name}/some/prefix"

    def keys(self) -> list[str]:
        """Return the keys of all objects, without the prefix."""
        found = self._list("list-type=2", "Contents")
        return sorted(key.removeprefix("some/prefix/") for key in found)

    def unfinished(self) -> list[str]:
        """Return the keys of multipart uploads that were neither completed nor aborted."""
        return self._list("uploads", "Upload")

    def _list(self, query: str, element: str) -> list[str]:
        answer = httpx.get(f"{self.endpoint}/{self.name}?{query}", trust_env=False).raise_for_status()
        tree = ET.fromstring(answer.content)  # noqa: S314 - our own server's answer
        return [item.findtext(f"{_NAMESPACE}Key") or "" for item in tree.iter(f"{_NAMESPACE}{element}")]


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server and give its address; the environment names it, as it does in production."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with _in_environment(f"http://{host}:{port}") as endpoint:
            yield endpoint
    finally:
        server.stop()


@contextmanager
def s3_server_apart() -> Iterator[str]:
    """Run a server in a process of its own, for who measures this one, and give its address; the environment names it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            with _in_environment(f"http://127.0.0.1:{port}") as endpoint:
                _await_answer(endpoint, process)
                yield endpoint
        finally:
            process.kill()


def _await_answer(endpoint: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(endpoint, trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server of S3's API does not answer")


@contextmanager
def _in_environment(endpoint: str) -> Iterator[str]:
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield endpoint


def new_bucket(endpoint: str) -> Bucket:
    """Create an empty bucket."""
    bucket = Bucket(endpoint, f"test-{uuid4().hex}")
    httpx.put(f"{endpoint}/{bucket.name}", trust_env=False).raise_for_status()
    return bucket
