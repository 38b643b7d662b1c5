"""Where connections lead: judged by the IP address at the very moment of connecting, over real sockets and real TLS."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.testing.file_host import Act, FileHost, file_host, video_bytes
from common.testing.http_server import free_port
from publisher.clients.http import tiktok_http_client, tiktok_once_client
from publisher.clients.source_fetch import download, guarded_connections
from publisher.clients.source_fetch.download import Download, DownloadLimits, Watch
from publisher.clients.source_fetch.guarded_connections import OwnThreadsResolver
from publisher.clients.source_fetch.opening import SourceOpener
from publisher.errors import CallFailed

PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.3"
"""Loopback addresses, the first of which these tests take for a public one."""
DATA = video_bytes(600_000)
NAME = "videos.example.com"


@dataclass
class Names(AbstractResolver):
    """Answers each question with the next of its answers; the last one stays. Port 443 is this port: tests may not listen there."""

    port: int
    answers: list[Sequence[str]] = field(default_factory=list)
    asked: int = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        if not self.answers:
            raise OSError("nobody knows")
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=self.port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
            for address in addresses
        ]

    async def close(self) -> None:
        return


@pytest.fixture(autouse=True)
def loopback_is_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_connections, "is_public", lambda address: address == PUBLIC)
    monkeypatch.setattr(download, "BREAK_WAITS_SECONDS", (0.0,) * download.MAX_BREAKS)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate of NAME with its key, its own authority."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address(PUBLIC))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "host.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


class Fetching:
    """Fetches over TLS from servers whose names mean what a test wants."""

    def __init__(self, certificate: Path, port: int) -> None:
        self.names = Names(port)
        self.port = port
        self._trust = ssl.create_default_context(cafile=str(certificate))
        self.server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server_tls.load_cert_chain(certificate)

    @asynccontextmanager
    async def at(self, address: str) -> AsyncIterator[FileHost]:
        async with file_host(address, tls=self.server_tls, port=self.port) as host:
            yield host

    async def fetch(self, url: str, *, trusted: bool = True, allowed: frozenset[str] = frozenset()) -> bytes:
        trust = self._trust if trusted else None
        opener = SourceOpener(allowed, stall_seconds=5, resolver=self.names, trust=trust)

        async def begun(total: int | None) -> None:
            return

        watch = Watch(before_send=lambda: None, begun=begun, received=lambda _: None)
        got = Download(opener, url, DownloadLimits(10_000_000, 0), watch)
        return b"".join([piece async for piece in got.blocks()])

    async def refused(self, url: str, code: str, *, trusted: bool = True, allowed: frozenset[str] = frozenset()) -> str:
        with pytest.raises(CallFailed) as failed:
            await self.fetch(url, trusted=trusted, allowed=allowed)
        reason = failed.value.trouble.reason
        assert reason.code == code
        assert (
            "SECRET"
            not in f"{reason} {failed.value} {failed.value.__context__ if not failed.value.__suppress_context__ else ''}"
        )
        return reason.message


@pytest.fixture
def fetching(certificate: Path) -> Fetching:
    return Fetching(certificate, free_port())


async def test_a_public_host_over_https(fetching: Fetching) -> None:
    fetching.names.answers = [[PUBLIC]]
    async with fetching.at(PUBLIC) as host:
        host.put("/v.mp4", Act(DATA))
        assert await fetching.fetch(f"https://{NAME}/v.mp4") == DATA
        assert await fetching.fetch(f"https://{NAME}:443/v.mp4") == DATA
    assert host.asked[0].headers["host"] == NAME


async def test_a_name_that_means_another_host_when_the_file_is_resumed(fetching: Fetching) -> None:
    fetching.names.answers = [[PUBLIC], [PRIVATE]]
    async with fetching.at(PUBLIC) as host, fetching.at(PRIVATE) as inside:
        host.put("/v.mp4", Act(DATA, cut_after=200_000, etag='"1"'))
        inside.put("/v.mp4", Act(DATA, etag='"1"'))
        message = await fetching.refused(f"https://{NAME}/v.mp4?k=SECRET", "source_url_not_allowed")
        assert NAME in message
        assert (len(host.asked), inside.asked, fetching.names.asked) == (1, [], 2)


async def test_a_redirect_to_a_name_that_is_not_public(fetching: Fetching) -> None:
    fetching.names.answers = [[PUBLIC], [PRIVATE]]
    async with fetching.at(PUBLIC) as host, fetching.at(PRIVATE) as inside:
        host.put("/v.mp4", Act(status=302, headers={"Location": "https://other.example.com/v.mp4"}))
        inside.put("/v.mp4", Act(DATA))
        await fetching.refused(f"https://{NAME}/v.mp4", "source_url_not_allowed")
        assert inside.asked == []


async def test_of_several_addresses_only_the_public_ones_are_tried(fetching: Fetching) -> None:
    fetching.names.answers = [[PRIVATE, PUBLIC]]
    async with fetching.at(PUBLIC) as host, fetching.at(PRIVATE) as inside:
        host.put("/v.mp4", Act(DATA))
        assert await fetching.fetch(f"https://{NAME}/v.mp4") == DATA
        assert inside.asked == []


async def test_a_public_address_that_does_not_answer_beside_a_private_one_is_only_away(fetching: Fetching) -> None:
    fetching.names.answers = [[PRIVATE, PUBLIC]]
    async with fetching.at(PRIVATE) as inside:
        await fetching.refused(f"https://{NAME}/v.mp4", "source_unreachable")
        assert inside.asked == []


async def test_a_name_without_an_address_is_only_away(fetching: Fetching) -> None:
    assert "name" in await fetching.refused(f"https://{NAME}/v.mp4", "source_unreachable")


@pytest.mark.parametrize("host", ["127.0.0.3", "[::1]", "2130706433", "0x7f.1"])
async def test_private_hosts_however_they_are_written(fetching: Fetching, host: str) -> None:
    fetching.names.answers = [[PRIVATE]]
    async with fetching.at(PRIVATE) as inside:
        await fetching.refused(f"https://{host}/v.mp4", "source_url_not_allowed")
        assert inside.asked == []


async def test_https_does_not_become_http(fetching: Fetching) -> None:
    """Not even where http would be allowed."""
    fetching.names.answers = [[PUBLIC]]
    async with fetching.at(PUBLIC) as host:
        host.put("/v.mp4", Act(status=301, headers={"Location": f"http://{NAME}/v.mp4"}))
        message = await fetching.refused(f"https://{NAME}/v.mp4", "source_url_not_allowed", allowed=frozenset({NAME}))
    assert "http" in message


async def test_a_certificate_that_nobody_vouches_for(fetching: Fetching) -> None:
    fetching.names.answers = [[PUBLIC]]
    async with fetching.at(PUBLIC) as host:
        host.put("/v.mp4", Act(DATA))
        await fetching.refused(f"https://{NAME}/v.mp4", "source_untrusted", trusted=False)
        # And one of another host.
        await fetching.refused("https://another.example.com/v.mp4", "source_untrusted")
        # Nor does a call to TikTok begin with whoever pretends to be it.
        for client_of in (tiktok_http_client, tiktok_once_client):
            async with client_of() as client:
                with pytest.raises(httpx.TransportError, match=r"(?i)certificate"):
                    await client.get(f"https://{PUBLIC}:{fetching.port}/v.mp4")
        assert host.asked == []


async def test_an_answer_that_is_none(fetching: Fetching) -> None:
    """A server that speaks something else, and headers without end: no word of them is told."""
    fetching.names.answers = [[PUBLIC]]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words.pop())
        await writer.drain()
        writer.close()

    words = [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"SECRET\r\n\r\n"]
    async with await asyncio.start_server(talk, PUBLIC, fetching.port, ssl=fetching.server_tls):
        for _ in range(2):
            await fetching.refused(f"https://{NAME}/v.mp4", "source_unreachable")


async def test_names_are_resolved_on_threads_of_their_own() -> None:
    resolver = OwnThreadsResolver(threads=1)
    try:
        found = await resolver.resolve("localhost", 80)
        assert {result["host"] for result in found} <= {"127.0.0.1", "::1"}
        with pytest.raises(socket.gaierror):
            await resolver.resolve("nowhere.invalid", 80)
    finally:
        await resolver.close()
