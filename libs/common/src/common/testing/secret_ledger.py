"""Knows every secret that takes part in a test run: what is wrapped as one, and what goes over HTTP under a secret's name."""

import json
import re
from collections.abc import Iterator
from functools import wraps
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from common.testing.canaries import Canaries

LEAST_CHARS, LEAST_VARIETY = 16, 8
"""Real tokens, keys and codes are longer and have more different characters; others are a test's own and may stand anywhere."""
API_KEY_MARK, API_KEY_SHOWN = "cpk_", 12
FIELDS = frozenset(
    {"access_token", "refresh_token", "password", "current_password", "new_password", "key", "client_secret"}
    | {"code_verifier", "token", "upload_token", "state"}
)
IN_ADDRESSES = frozenset({"code", "state", "upload_token", "token"})
_READ_AT_MOST = 256 * 1024
_MAY_HOLD_A_SECRET = re.compile(rb'(?:"(?:%s)|url)"\s*:' % b"|".join(name.encode() for name in sorted(FIELDS)))
"""Of JSON, whether it is worth reading."""


class SecretLedger:
    """Collects secrets while it is installed; each is named by how it became known."""

    def __init__(self) -> None:
        self._secrets: dict[str | bytes, str] = {}
        self.listening = True
        """Cleared while tests leak on purpose."""

    def __len__(self) -> int:
        return len(self._secrets)

    def canaries(self) -> Canaries:
        """Return everything known by now, to look for."""
        canaries = Canaries()
        for secret, name in self._secrets.items():
            canaries.add(name, secret)
        return canaries

    def add(self, name: str, secret: str | bytes) -> None:
        """Know a secret: of an address its password, of a JWT its signature, of an API key what comes after the shown beginning."""
        secret = _core(secret) if isinstance(secret, str) else secret
        if self.listening and len(secret) >= LEAST_CHARS and len(set(secret)) >= LEAST_VARIETY:
            self._secrets.setdefault(secret, name)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to listen; the monkeypatch ends it."""
        make, send, asend = SecretStr.__init__, httpx.Client.send, httpx.AsyncClient.send

        @wraps(make)
        def making(wrapped: SecretStr, secret_value: str) -> None:
            make(wrapped, secret_value)
            if isinstance(secret_value, str):
                self.add("wrapped as a secret", secret_value)

        @wraps(send)
        def sending(client: httpx.Client, request: httpx.Request, **arguments: Any) -> httpx.Response:
            return self._noted(request, send(client, request, **arguments))

        @wraps(asend)
        async def sending_async(client: httpx.AsyncClient, request: httpx.Request, **arguments: Any) -> httpx.Response:
            return self._noted(request, await asend(client, request, **arguments))

        monkeypatch.setattr(SecretStr, "__init__", making)
        monkeypatch.setattr(httpx.Client, "send", sending)
        monkeypatch.setattr(httpx.AsyncClient, "send", sending_async)

    def _noted(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        where = f"{request.method} {request.url.path}"
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.add(f"bearer of {where}", token)
        for address in (str(request.url), response.headers.get("location", "")):
            self._fields(f"address of {where}", _query_of(address))
        self._fields(f"sent to {where}", _fields_of(request.headers, getattr(request, "_content", b"")))
        if response.is_closed:
            self._fields(f"answer of {where}", _fields_of(response.headers, getattr(response, "_content", b"")))
        return response

    def _fields(self, where: str, fields: Iterator[tuple[str, str]]) -> None:
        for name, value in fields:
            self.add(f"{name} {where}", value)


def _core(secret: str) -> str:
    """Return the part of a secret that may be shown nowhere."""
    if "://" in secret:
        try:
            return urlsplit(secret).password or ""
        except ValueError:
            return ""
    if secret.startswith(API_KEY_MARK):
        return secret[API_KEY_SHOWN:]
    return secret.rpartition(".")[2] if secret.startswith("eyJ") else secret


def _query_of(address: str) -> Iterator[tuple[str, str]]:
    try:
        query = urlsplit(address).query
    except ValueError:
        return
    for name, value in parse_qsl(query):
        if name in IN_ADDRESSES:
            yield name, value


def _fields_of(headers: httpx.Headers, body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the secrets in a form or in JSON, however deep."""
    if not body or len(body) > _READ_AT_MOST:
        return
    kind = headers.get("content-type", "").partition(";")[0]
    if kind == "application/x-www-form-urlencoded":
        for name, value in parse_qsl(body.decode("utf-8", "replace")):
            if name in FIELDS | IN_ADDRESSES:
                yield name, value
    elif kind.endswith("json") and _MAY_HOLD_A_SECRET.search(body):
        try:
            yield from _in_json(json.loads(body))
        except (ValueError, RecursionError):
            return


def _in_json(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and name in FIELDS and (name != "key" or inner.startswith(API_KEY_MARK)):
                yield name, inner
            elif isinstance(inner, str) and name.endswith("url"):
                yield from _query_of(inner)
            else:
                yield from _in_json(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _in_json(inner)
