"""The gateway and the simulator as an API client sees them."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from demo.errors import DemoError

TIMEOUT = httpx.Timeout(30.0, connect=5.0)


@dataclass(frozen=True)
class Creator:
    """A simulated TikTok creator made for this run."""

    username: str
    open_id: str


class Cuepost:
    """A user of one running stack: register, connect, upload, schedule, look."""

    def __init__(self, gateway_url: str, simulator_url: str) -> None:
        self._gateway = httpx.Client(base_url=gateway_url, timeout=TIMEOUT, trust_env=False)
        self._simulator = httpx.Client(base_url=simulator_url, timeout=TIMEOUT, trust_env=False)
        self.headers = self._gateway.headers
        """Sent with every request."""
        self.secrets: list[str] = []
        """Passwords and tokens that went through this client, for tests that look for leaks."""
        self._login: dict[str, str] = {}

    def register(self) -> str:
        """Register a new person and return the email."""
        email = f"demo-{secrets.token_hex(5)}@example.com"
        body = {"email": email, "username": f"demo_{secrets.token_hex(5)}", "password": secrets.token_urlsafe(24)}
        tokens = self._call("POST", "/api/v1/auth/register", json=body)
        self.secrets += [body["password"], tokens["refresh_token"], tokens["access_token"].rpartition(".")[2]]
        self._gateway.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        self._login = {"email": email, "password": body["password"]}
        return email

    def log_in(self) -> str:
        """Open another session of the registered person and return its access token."""
        tokens = self._call("POST", "/api/v1/auth/login", json=self._login)
        self.secrets += [tokens["refresh_token"], tokens["access_token"].rpartition(".")[2]]
        return str(tokens["access_token"])

    def log_out(self, token: str) -> None:
        """End the session of an access token."""
        _checked(self._gateway.post("/api/v1/auth/logout", headers=_bearer(token)))

    def make_key(self, name: str, scopes: list[str]) -> dict[str, Any]:
        """Make an API key; its secret is in the answer's `key`."""
        made = self._call("POST", "/api/v1/auth/api-keys", json={"name": name, "scopes": scopes})
        self.secrets.append(made["key"].removeprefix(made["prefix"]))
        return made

    def revoke_key(self, key_id: str) -> None:
        """Revoke an API key."""
        self._call("DELETE", f"/api/v1/auth/api-keys/{key_id}")

    def status_for(self, token: str, path: str) -> int:
        """Return the status of the gateway's answer to a GET with this token or API key."""
        return self._gateway.get(path, headers=_bearer(token)).status_code

    def make_creator(self) -> Creator:
        """Make a creator at the simulator."""
        username = f"creator_{secrets.token_hex(4)}"
        body = {"username": username, "persona": "public", "display_name": "Demo Creator", "follower_count": 12_800}
        answer = _checked(self._simulator.post("/_simulator/creators", json=body))
        return Creator(username, answer["open_id"])

    def connect(self, creator: Creator) -> str:
        """Go through the OAuth flow as a browser would and return the account's id."""
        url = httpx.URL(self._call("GET", "/api/v1/tiktok/auth/url")["auth_url"])
        consent = self._simulator.get(url.copy_add_param("simulator_creator", creator.username))
        if consent.status_code != httpx.codes.FOUND:
            raise DemoError(f"the authorize page answered {consent.status_code} instead of redirecting")
        callback = _checked(httpx.get(consent.headers["Location"], timeout=TIMEOUT, trust_env=False))
        return str(callback["account_id"])

    def account(self, account_id: str) -> dict[str, Any]:
        """Return a connected account."""
        return self._call("GET", f"/api/v1/accounts/{account_id}")

    def accounts(self) -> dict[str, Any]:
        """Return the first page of the connected accounts."""
        return self._call("GET", "/api/v1/accounts")

    def accounts_summary(self) -> dict[str, Any]:
        """Return the connected accounts counted and added up."""
        return self._call("GET", "/api/v1/accounts/stats/summary")

    def creator_info(self, account_id: str) -> dict[str, Any]:
        """Return what TikTok lets this creator post now."""
        return self._call("GET", f"/api/v1/accounts/{account_id}/creator-info")

    def upload(self, path: Path) -> dict[str, Any]:
        """Stream a file through the gateway into the media library."""
        with path.open("rb") as file:
            return self._call("POST", "/api/v1/media/upload", files={"file": (path.name, file, "video/mp4")}, timeout=120)

    def schedule(self, post: dict[str, Any]) -> dict[str, Any]:
        """Create a post."""
        return self._call("POST", "/api/v1/posts", json=post)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the gateway's answer, whatever its status."""
        return self._gateway.request(method, path, **options)

    def retry(self, post_id: str, *, confirm_not_published: bool = False, **more: Any) -> httpx.Response:
        """Ask for another attempt; returns the gateway's answer, whatever its status."""
        body = {"confirm_not_published": confirm_not_published, **more}
        return self._gateway.post(f"/api/v1/posts/{post_id}/retry", json=body)

    def get(self, path: str) -> httpx.Response:
        """Return the gateway's answer to a GET, whatever its status."""
        return self._gateway.get(path)

    def post(self, post_id: str) -> dict[str, Any]:
        """Return a post."""
        return self._call("GET", f"/api/v1/posts/{post_id}")

    def audit(self, **filters: str) -> dict[str, Any]:
        """Return a page of the user's audit trail."""
        return self._call("GET", "/api/v1/audit", params=filters)

    def detail(self, post_id: str) -> dict[str, Any]:
        """Return post, planning and timeline."""
        return self._call("GET", f"/api/v1/posts/{post_id}/detail")

    def publications(self, creator: Creator) -> list[dict[str, Any]]:
        """Return what the simulator's ledger has of this creator: items whose bytes are all in and that were not refused."""
        items = _checked(self._simulator.get("/_simulator/ledger"))["items"]
        return [
            item
            for item in items
            if item["open_id"] == creator.open_id and item["sha256"] is not None and item["status"] != "FAILED"
        ]

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return _checked(self._gateway.request(method, path, **options))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object, empty where there is no content, or raise with what the server said is wrong."""
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise DemoError(f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:500]}")
    answer: dict[str, Any] = response.json() if response.content else {}
    return answer
