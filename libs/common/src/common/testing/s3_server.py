"""A real server of S3's API on a free port (moto's), for what is stored in a bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import pytest

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
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            yield endpoint
    finally:
        server.stop()


def new_bucket(endpoint: str) -> Bucket:
    """Create an empty bucket."""
    bucket = Bucket(endpoint, f"test-{uuid4().hex}")
    httpx.put(f"{endpoint}/{bucket.name}", trust_env=False).raise_for_status()
    return bucket
