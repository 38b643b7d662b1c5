"""The demo user and its API key: made over the public API as any client would, once, and kept in `.local/stack.env`."""

from __future__ import annotations

import http.client
import json
import secrets as random
import time
import urllib.error
import urllib.request
from typing import Any

from localstack.errors import StackError
from localstack.paths import Paths

REQUEST_SECONDS = 10
PATIENCE_SECONDS = 15.0
PAUSE_SECONDS = 0.5
KEYS_LISTED = 50
EMAIL = "demo@example.com"
KEY_NAME = "local stack"
SCOPES = (
    "posts:read",
    "posts:write",
    "media:write",
    "accounts:read",
    "accounts:write",
    "analytics:read",
    "audit:read",
)


def working_key(gateway: str, paths: Paths, password: str) -> str:
    """Return an API key that works now: the stored one, or else a new one in the place of those made before.

    Only 401 says that the stored one is dead. Raises StackError when the API refuses, or does not say for some seconds.
    """
    stored = read_stack_env(paths).get("DEMO_API_KEY", "")
    if stored and _works(gateway, stored):
        return stored
    token = _access_token(gateway, password)
    _revoke_old(gateway, token)
    body = {"name": KEY_NAME, "scopes": list(SCOPES)}
    status, answer = _call(gateway, "POST", "/api/v1/auth/api-keys", body, token)
    if status != http.client.CREATED:
        raise StackError(f"the API refused to make the demo key: {status} {answer}")
    return str(answer["key"])


def _works(gateway: str, key: str) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        status, answer = _call(gateway, "GET", "/api/v1/auth/me", token=key)
        if status in {http.client.OK, http.client.UNAUTHORIZED}:
            return status == http.client.OK
        if time.monotonic() > deadline:
            raise StackError(f"the API does not say whether the demo key in .local/stack.env works: {status} {answer}")
        time.sleep(PAUSE_SECONDS)


def _revoke_old(gateway: str, token: str) -> None:
    """Revoke the demo user's keys that were made here; at most a user's whole allowance."""
    status, answer = _call(gateway, "GET", f"/api/v1/auth/api-keys?limit={KEYS_LISTED}", token=token)
    if status != http.client.OK:
        raise StackError(f"the API refused to list the demo keys: {status} {answer}")
    for key in answer["items"]:
        if key["name"] == KEY_NAME:
            status, refused = _call(gateway, "DELETE", f"/api/v1/auth/api-keys/{key['id']}", token=token)
            if status not in {http.client.NO_CONTENT, http.client.NOT_FOUND}:
                raise StackError(f"the API refused to revoke an old demo key: {status} {refused}")


def _access_token(gateway: str, password: str) -> str:
    """Make the demo user, or sign in as it; one whose password is lost is left and replaced by another."""
    for email in (EMAIL, f"demo-{random.token_hex(4)}@example.com"):
        body = {"email": email, "username": "demo", "password": password}
        status, answer = _call(gateway, "POST", "/api/v1/auth/register", body)
        if status == http.client.CONFLICT:
            status, answer = _call(gateway, "POST", "/api/v1/auth/login", {"email": email, "password": password})
        if status in {http.client.OK, http.client.CREATED}:
            return str(answer["access_token"])
    raise StackError(f"the API refused to make the demo user: {status} {answer}")


def _call(
    gateway: str, method: str, path: str, body: dict[str, Any] | None = None, token: str = ""
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(gateway + path, data, headers, method=method)  # noqa: S310 - our own gateway
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=REQUEST_SECONDS) as response:
            return response.status, _decoded(response.read())
    except urllib.error.HTTPError as error:
        return error.code, _decoded(error.read())
    except OSError as error:
        raise StackError(f"the gateway at {gateway} does not answer: {error}") from error


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        return {"detail": content[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {"items": answer}


def read_stack_env(paths: Paths) -> dict[str, str]:
    """Return what `.local/stack.env` says; empty when it is not there."""
    try:
        lines = paths.stack_env.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)
