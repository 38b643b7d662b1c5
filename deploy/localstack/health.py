"""Truthful waiting: a server is up when it answers its own protocol, not when its port is open."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from contextlib import closing

PROBE_SECONDS = 2.0
READINESS_SECONDS = 10.0
"""`/readyz` waits for its slowest check."""

MAX_ANSWER_BYTES = 64 * 1024


def postgres_accepts(port: int) -> bool:
    """Whether PostgreSQL asks for a password (a starting server answers with an error instead)."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    message = struct.pack("!ii", len(parameters) + 8, 196608) + parameters
    return _answer(port, message, 1) == b"R"


def amqp_accepts(port: int) -> bool:
    """Whether the broker opens the AMQP 0-9-1 handshake (frame type 1, channel 0)."""
    return _answer(port, b"AMQP\x00\x00\x09\x01", 3) == b"\x01\x00\x00"


def tcp_accepts(port: int) -> bool:
    """Whether something accepts connections."""
    return _answer(port, b"", 0) is not None


def http_ok(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """Whether GET on the path answers 200."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    with closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def readiness_problems(port: int, host: str = "127.0.0.1") -> list[str]:
    """Return what a service's `/readyz` says is missing, one line each; nothing when it is ready or does not answer."""
    status, text = _readiness(port, host)
    if status in {None, http.client.OK}:
        return []
    return _failing(text) or [f"/readyz answers {status}"]


def warnings(port: int, host: str = "127.0.0.1") -> list[str]:
    """Return what a service's `/readyz` wants to be looked at although it does its work, one line each."""
    try:
        told = json.loads(_readiness(port, host)[1])["warnings"]
    except (ValueError, LookupError, TypeError):
        return []
    return [str(line) for line in told] if isinstance(told, list) else []


def _readiness(port: int, host: str) -> tuple[int | None, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=READINESS_SECONDS)
    with closing(connection):
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException):
            return None, b""


def _failing(text: bytes) -> list[str]:
    try:
        body = json.loads(text)
        failing = {name: check["reason"] for name, check in body["checks"].items() if not check["ok"]}
        return [f"{name}: {reason}" for name, reason in failing.items()] or [str(body["status"])]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _answer(port: int, message: bytes, size: int) -> bytes | None:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=PROBE_SECONDS)) as connection:
            connection.sendall(message)
            received = b""
            while len(received) < size:
                chunk = connection.recv(size - len(received))
                if not chunk:
                    break
                received += chunk
            return received
    except OSError:
        return None
