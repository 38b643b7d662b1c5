"""What operators alarm on is counted where it happens."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from accounts.storage.due_refreshes import late_refreshes
from common.testing.eventually import eventually

pytestmark = pytest.mark.integration


class Counted:
    """Counters as they were at the beginning, and what has come since."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.before = self._now()

    def _now(self) -> dict[str, float]:
        samples = [sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == self.name]
        return {sample.labels["outcome"]: sample.value for sample in samples}

    def since(self) -> dict[str, float]:
        return {
            outcome: value - self.before[outcome] for outcome, value in self._now().items() if value != self.before[outcome]
        }


async def test_logins_and_refreshes_of_sessions_by_outcome(start: Any) -> None:
    accounts = await start(login_free_failures=1, refresh_grace_seconds=0)
    person = await accounts.register()
    logins, refreshes = Counted("cuepost_logins_total"), Counted("cuepost_session_refreshes_total")
    assert (await accounts.login(person.email)).status_code == 200
    for status in (401, 401, 429):
        assert (await accounts.login(person.email, "a wrong guess")).status_code == status
    assert logins.since() == {"ok": 1, "invalid_credentials": 2, "too_many_attempts": 1}
    body = {"refresh_token": person.refresh_token}
    for status in (200, 401, 401):
        answer = await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)
        assert answer.status_code == status
    body = {"refresh_token": "unknown"}
    await accounts.http.post("/internal/auth/refresh", json=body, headers=accounts.gateway)
    assert refreshes.since() == {"ok": 1, "refresh_token_reused": 1, "invalid_refresh_token": 2}


async def test_refreshes_of_tiktok_tokens_by_outcome(accounts: Any) -> None:
    account_id = await accounts.connect(await accounts.register())
    counted = Counted("cuepost_token_refreshes_total")
    await accounts.make_refresh_due(account_id, seconds_left=1)
    assert (await accounts.access_token(account_id)).status_code == 200
    assert counted.since() == {"ok": 1}
    state = accounts.simulator.state
    state.grants.revoke(state.creators.named("demo_public").open_id)
    await accounts.make_refresh_due(account_id, seconds_left=1)
    assert (await accounts.access_token(account_id)).status_code != 200
    assert counted.since() == {"ok": 1, "refused": 1}


async def test_late_refreshes_are_measured(start: Any) -> None:
    accounts = await start()
    person = await accounts.register()
    first, second = [await accounts.connect(person, creator) for creator in ("demo_public", "demo_private")]
    await accounts.execute("UPDATE account_tokens SET next_refresh_at = now() + interval '5 minutes'")
    for account_id, late in ((first, 30), (second, 300)):
        await accounts.execute(
            f"UPDATE account_tokens SET refresh_due_at = now() - interval '{late} seconds' WHERE account_id = '{account_id}'"
        )
    async with accounts.database.read() as connection:
        found = await late_refreshes(connection)
    assert (found.due, found.overdue) == (2, 1)
    assert 300 <= found.oldest_seconds < 330
    await accounts.execute(f"UPDATE account_tokens SET next_refresh_at = NULL WHERE account_id = '{second}'")
    await start()

    async def measured() -> bool:
        assert REGISTRY.get_sample_value("cuepost_tokens_due") == 1
        assert REGISTRY.get_sample_value("cuepost_tokens_overdue") == 0
        assert REGISTRY.get_sample_value("cuepost_tokens_oldest_overdue_seconds") == 0
        return True

    await eventually(measured)
