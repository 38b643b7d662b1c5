"""No secret leaves its place: everything written by a full run, failures included, is scanned for planted ones."""

import asyncio
import base64
from typing import Any

import pytest

from accounts.storage.tables import metadata
from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
PASSWORD = "canary-password-7f3a9"
TOKEN = "/v2/oauth/token/"


async def live(accounts: Any) -> dict[str, str]:
    """Do everything once, well and badly; return the secrets that took part."""
    person = await accounts.register(password=PASSWORD)
    await accounts.login(person.email, "canary-wrong-guess-51")
    session = (await accounts.login(person.email, PASSWORD)).json()
    refresh = {"refresh_token": session["refresh_token"]}
    once = (await accounts.http.post("/internal/auth/refresh", json=refresh, headers=accounts.gateway)).json()
    more = {"refresh_token": once["refresh_token"]}
    renewed = (await accounts.http.post("/internal/auth/refresh", json=more, headers=accounts.gateway)).json()
    await accounts.http.post("/internal/auth/refresh", json=refresh, headers=accounts.gateway)
    body = {"name": "robot", "scopes": ["accounts:read"]}
    key = (await accounts.http.post("/internal/auth/api-keys", json=body, headers=person.auth)).json()["key"]
    exchanged = await accounts.http.post("/internal/api-keys/exchange", json={"key": key}, headers=accounts.gateway)
    accounts.simulator.state.faults.add(Fault(endpoint=TOKEN, status=503))
    lost = await accounts.consent(person)
    await accounts.callback(**lost)
    redirect = await accounts.consent(person)
    account_id = (await accounts.callback(**redirect)).json()["account_id"]
    await accounts.callback(**redirect)
    first = (await accounts.access_token(account_id)).json()["access_token"]
    await accounts.make_refresh_due(account_id)
    second = (await accounts.access_token(account_id)).json()["access_token"]
    rotated = await accounts.scalar("SELECT refresh_token_sealed FROM account_tokens")
    accounts.simulator.state.grants.revoke(accounts.simulator.state.creators.named("demo_public").open_id)
    await accounts.make_refresh_due(account_id)
    await accounts.access_token(account_id)
    settings = accounts.parts.settings
    return {
        "password": PASSWORD,
        "wrong guess": "canary-wrong-guess-51",
        "access token": person.access_token.rsplit(".", 1)[1],
        "later access token": renewed["access_token"].rsplit(".", 1)[1],
        "key's access token": exchanged.json()["access_token"].rsplit(".", 1)[1],
        "refresh token": person.refresh_token,
        "rotated refresh token": once["refresh_token"],
        "newest refresh token": renewed["refresh_token"],
        "api key": key[12:],
        "code": redirect["code"],
        "lost code": lost["code"],
        "state": redirect["state"],
        "tiktok access token": first,
        "tiktok access token 2": second,
        "tiktok refresh token": accounts.parts.vault.open(rotated).get_secret_value(),
        "client secret": settings.tiktok_client_secret.get_secret_value(),
        "encryption key": settings.encryption_key.get_secret_value(),
        "service key": settings.service_private_key.get_secret_value(),
    }


async def dump(accounts: Any) -> bytes:
    """Everything the database holds, binary columns as they are."""
    found: list[bytes] = []
    async with accounts.database.read() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(table.select()):
                found += [value if isinstance(value, bytes) else repr(value).encode() for value in row]
    return b"\n".join(found)


async def test_nothing_secret_is_written_anywhere(accounts: Any, events: Any, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = await live(accounts)
    await events.of("accounts.account.expired.v1")
    await asyncio.sleep(0)
    captured = capfd.readouterr()
    written = {
        "logs": (captured.out + captured.err).encode(),
        "events": b"\n".join(events.raw),
        "database": await dump(accounts),
    }
    assert len(written["logs"]) > 1000
    assert len(events.raw) > 8
    for place, content in written.items():
        for name, secret in secrets.items():
            assert secret.encode() not in content, f"{name} in {place}"
            assert base64.b64encode(secret.encode()) not in content, f"{name} in {place}"


def test_settings_do_not_show_secrets(settings: Any) -> None:
    shown = repr(settings) + str(settings)
    for secret in (
        settings.encryption_key,
        settings.tiktok_client_secret,
        settings.service_private_key,
        settings.database_url,
    ):
        assert secret.get_secret_value() not in shown
