"""Parts of the gateway by themselves: revocations, API keys, rate limits, storage, settings."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr, ValidationError

from common.clock import rfc3339, utc_now
from common.contracts.accounts import UserRegistered
from common.contracts.context import Context
from common.contracts.envelope import wrap
from common.errors import Permanent, Problem, Transient
from common.http.client import ServiceClient
from common.http.identity import CLIENT_IP_HEADER
from common.testing.eventually import eventually
from common.testing.keys import UserKeys
from gateway.clients.accounts_client import AccountsClient
from gateway.clients.object_store import ObjectStore
from gateway.handlers.revocation_feed import revocation_of
from gateway.loops import stale_uploads_loop
from gateway.security.api_keys import ApiKeyTokens, ExchangedKey
from gateway.security.authenticator import Authenticator
from gateway.security.rate_limits import RateLimits
from gateway.security.revocations import Revocation, RevokedSet
from gateway.settings import Settings

KEY = "cpk_abcdefgh12345678"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_revoked_set_is_trusted_while_events_flow_and_five_seconds_more() -> None:
    clock = Clock()
    revoked = RevokedSet(clock=clock)
    assert not revoked.fresh
    revoked.mark_live(False)
    assert not revoked.fresh
    revoked.mark_read()
    clock.now += 4.9
    assert revoked.fresh
    clock.now += 0.2
    assert not revoked.fresh
    revoked.mark_read()
    revoked.mark_live(True)
    clock.now += 290
    assert revoked.fresh
    revoked.mark_live(True)
    clock.now += 4.0
    revoked.mark_live(False)
    clock.now += 0.9
    revoked.mark_live(False)
    assert revoked.fresh, "since the last proof that events come, not since it was missed"
    clock.now += 0.2
    assert not revoked.fresh


def test_events_that_could_come_are_no_word_of_accounts_for_ever() -> None:
    """A dead accounts sends none: after the setting nobody is let in, and one reading makes all well."""
    clock = Clock()
    revoked = RevokedSet(unread_at_most=60, clock=clock)
    revoked.mark_live(True)
    assert not revoked.fresh, "live, and never read"
    revoked.mark_read()
    clock.now += 59.9
    assert revoked.fresh
    clock.now += 0.2
    assert not revoked.fresh
    revoked.mark_live(False)
    assert not revoked.fresh, "the five seconds do not add to the sixty"
    revoked.mark_live(True)
    assert not revoked.fresh
    revoked.mark_read()
    assert revoked.fresh


def test_the_revoked_set_forgets_what_has_expired() -> None:
    revoked = RevokedSet()
    past, future = utc_now() - timedelta(seconds=1), utc_now() + timedelta(hours=1)
    kept = uuid4()
    revoked.add([Revocation("session", kept, future)])
    revoked.add([Revocation("session", uuid4(), past) for _ in range(3000)])
    assert len(revoked) < 1100
    assert str(kept) in revoked
    assert None not in revoked


def test_remembering_many_revocations_takes_no_longer_for_each_of_them() -> None:
    """All are looked at each time their number has doubled, not after so many more."""
    looked: list[int] = []

    class Counting(RevokedSet):
        def _prune(self) -> None:
            looked.append(len(self))
            super()._prune()

    revoked, future = Counting(), utc_now() + timedelta(hours=1)
    heard: list[Revocation] = []
    revoked.on_revoked(heard.append)
    many = [Revocation("session", uuid4(), future) for _ in range(20_000)]
    for _ in range(3):
        revoked.add(many)
    assert heard == many, "those of the last half minute are told again and again"
    assert looked == [1024, 2048, 4096, 8192, 16384]
    assert len(revoked) == 20_000


class Pages:
    """In place of accounts: answers one page after the other, and notes from where each was asked for."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.left = list(pages)
        self.asked: list[dict[str, str] | None] = []

    async def get(self, _: str, *, params: dict[str, str] | None, timeout: float) -> Any:
        self.asked.append(params)
        page = self.left.pop(0)
        if not page:
            raise Transient("away")
        return {"items": [], "has_more": False} | page


async def read(client: AccountsClient) -> None:
    async for _ in client.read_revocations():
        pass


def at(second: int) -> str:
    return rfc3339(datetime(2026, 11, 21, 7, 0, second, tzinfo=UTC))


A, B = (str(UUID(int=number)) for number in (1, 2))
SETTLED = {"settled_until": at(30)}


async def test_revocations_that_are_still_being_committed_are_read_the_next_time() -> None:
    """A page that ends beyond what is settled may lack some from before its end."""
    more = {"has_more": True} | SETTLED
    pages = Pages(
        more | {"next_since": at(10), "next_after": A},
        more | {"next_since": at(40), "next_after": B},
        {"next_since": at(40), "settled_until": at(31)},
        {},
        {"next_since": at(59), "settled_until": at(59)},
        {"next_since": at(59), "settled_until": at(59)},
    )
    client = AccountsClient(cast("ServiceClient", pages))
    await read(client)
    with pytest.raises(Transient):
        await read(client)
    await read(client)
    await read(client)
    first = [None, {"since": at(10), "after": A}, {"since": at(40), "after": B}]
    assert pages.asked == [*first, {"since": at(30)}, {"since": at(30)}, {"since": at(59)}]


async def test_a_reading_that_broke_off_is_taken_up_where_it_was() -> None:
    more = {"has_more": True} | SETTLED
    pages = Pages(more | {"next_since": at(10), "next_after": A}, {}, {"next_since": at(30)} | SETTLED)
    client = AccountsClient(cast("ServiceClient", pages))
    with pytest.raises(Transient):
        await read(client)
    await read(client)
    assert pages.asked == [None, *[{"since": at(10), "after": A}] * 2]


async def test_an_accounts_of_before_pages_had_places_is_read_to_the_end() -> None:
    pages = Pages({"next_since": at(10), "has_more": True}, {"next_since": at(30)}, {"next_since": at(30), "has_more": True})
    client = AccountsClient(cast("ServiceClient", pages))
    await read(client)
    with pytest.raises(Transient, match="same page"):
        await read(client)
    assert pages.asked == [None, {"since": at(10)}, {"since": at(30)}]


def test_other_events_revoke_nothing() -> None:
    event = UserRegistered(user_id=uuid4(), username="ada", timezone="UTC")
    with pytest.raises(Permanent):
        revocation_of(wrap(event, service="accounts", subject="x", context=Context()))


def tokens(clock: Clock, calls: list[str], *, key_id: UUID | None = None, life: float = 300, **more: Any) -> ApiKeyTokens:
    async def exchange(key: str, _: Mapping[str, str], many_addresses: bool) -> ExchangedKey:
        calls.append("many" if many_addresses else key)
        await asyncio.sleep(0)
        return ExchangedKey(f"token-{len(calls)}", life, key_id or uuid4())

    return ApiKeyTokens(exchange, clock=clock, **more)


async def test_an_exchanged_key_is_renewed_shortly_before_it_expires() -> None:
    clock, calls = Clock(), list[str]()
    keys = tokens(clock, calls)
    assert await keys.token_of(KEY, {}) == "token-1"
    clock.now += 279
    assert await keys.token_of(KEY, {}) == "token-1"
    clock.now += 2
    assert await keys.token_of(KEY, {}) == "token-2"


async def test_the_cache_of_keys_is_bounded_and_forgets_revoked_ones() -> None:
    clock, calls, key_id = Clock(), list[str](), uuid4()
    keys = tokens(clock, calls, key_id=key_id, max_cached=2)
    for letter in "abc":
        await keys.token_of(f"cpk_{letter * 10}", {})
    await keys.token_of("cpk_cccccccccc", {})
    assert len(calls) == 3
    await keys.token_of("cpk_aaaaaaaaaa", {})
    assert len(calls) == 4
    keys.forget(Revocation("session", key_id, utc_now()))
    await keys.token_of("cpk_aaaaaaaaaa", {})
    assert len(calls) == 4
    keys.forget(Revocation("api_key", key_id, utc_now()))
    await keys.token_of("cpk_aaaaaaaaaa", {})
    assert len(calls) == 5


async def test_accounts_hears_of_each_address_that_a_key_is_used_from() -> None:
    clock, calls = Clock(), list[str]()
    keys = tokens(clock, calls)

    async def use(address: str) -> str:
        return await keys.token_of(KEY, {CLIENT_IP_HEADER: address})

    first = await use("198.51.100.1")
    assert await use("203.0.113.7") != first, "somebody else, perhaps a thief"
    assert await use("198.51.100.1") == first
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        await use(address)
    assert len(calls) == 4, "an IPv6 address counts with its /64"


async def test_addresses_of_a_key_beyond_twenty_are_told_as_many() -> None:
    clock, calls = Clock(), list[str]()
    keys = tokens(clock, calls)
    for _ in range(2):
        await asyncio.gather(*(keys.token_of(KEY, {CLIENT_IP_HEADER: f"198.51.100.{n}"}) for n in range(100)))
    assert calls == [KEY] * 20 + ["many"]
    clock.now += 281
    await keys.token_of(KEY, {CLIENT_IP_HEADER: "203.0.113.7"})
    assert calls[21:] == [KEY], "they are told apart again when the tokens of the others are over"


async def test_a_token_of_a_key_is_replaced_when_what_signed_it_was_ended(user_keys: UserKeys) -> None:
    key_id, ended = uuid4(), UserKeys("ended")
    given = iter([signer.token(api_key_id=str(key_id), scopes=[]) for signer in (ended, user_keys)])

    async def exchange(*_: Any) -> ExchangedKey:
        return ExchangedKey(next(given), 300, key_id)

    revoked = RevokedSet()
    revoked.mark_read()
    authenticator = Authenticator(user_keys.verifier(), ApiKeyTokens(exchange), revoked)
    assert (await authenticator.authenticate(KEY, {})).claims.api_key_id == str(key_id)


async def test_one_exchange_serves_all_who_wait_and_its_failure_is_not_kept() -> None:
    release = asyncio.Event()
    calls = 0

    async def exchange(_: str, __: Mapping[str, str], ___: bool) -> ExchangedKey:
        nonlocal calls
        calls += 1
        await release.wait()
        if calls == 1:
            raise Transient("accounts is away")
        return ExchangedKey("token", 300, uuid4())

    keys = ApiKeyTokens(exchange)
    waiting = [asyncio.create_task(keys.token_of(KEY, {})) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, Transient) for result in results[1:])
    assert calls == 1
    assert await keys.token_of(KEY, {}) == "token"


async def test_a_refusal_is_remembered_for_a_minute_and_bounded() -> None:
    clock, calls = Clock(), 0

    async def exchange(*_: Any) -> ExchangedKey:
        nonlocal calls
        calls += 1
        raise Problem(401, "invalid_api_key", "x")

    async def refused(key: str) -> None:
        with pytest.raises(Problem):
            await keys.token_of(key, {})

    keys = ApiKeyTokens(exchange, clock=clock, max_cached=2)
    assert not keys.knows(KEY, "192.0.2.1")
    for _ in range(3):
        await refused(KEY)
    assert (calls, keys.knows(KEY, "192.0.2.1"), keys.knows("no key", "192.0.2.1")) == (1, True, True)
    clock.now += 61
    assert not keys.knows(KEY, "192.0.2.1")
    for letter in "abc":
        await refused(f"cpk_{letter * 10}")
    assert not keys.knows("cpk_aaaaaaaaaa", "192.0.2.1")
    assert keys.knows("cpk_cccccccccc", "192.0.2.1")


async def test_a_cancelled_exchange_is_no_unhandled_failure() -> None:
    async def exchange(_: str, __: Mapping[str, str], ___: bool) -> ExchangedKey:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await ApiKeyTokens(exchange).token_of(KEY, {})


async def test_the_tightest_of_several_limits_counts() -> None:
    limits = RateLimits(per_user="5/minute;2/hour", per_address="1/second", storage=SecretStr("memory://"))
    user_id = uuid4()
    seen = [await limits.hit_user(user_id) for _ in range(3)]
    assert [(one.limit, one.remaining, one.allowed) for one in seen] == [(2, 1, True), (2, 0, True), (2, 0, False)]


async def blocks(*parts: bytes) -> Any:
    for part in parts:
        yield part


async def test_stale_uploads_are_swept_and_young_ones_kept(tmp_path: Path) -> None:
    store = ObjectStore(f"file://{tmp_path}")
    for name in ("old", "young"):
        await store.write(f"uploads/tmp/{name}", blocks(b"x"))
    unfinished = tmp_path / "uploads" / "tmp" / "killed#1"
    make_old(tmp_path / "uploads" / "tmp" / "old", unfinished)
    loop = stale_uploads_loop(store)
    await loop.start()
    await eventually(lambda: names(tmp_path / "uploads" / "tmp") == ["young"])
    await loop.stop()


def make_old(*paths: Path) -> None:
    for path in paths:
        path.touch()
        os.utime(path, (time.time() - 90_000,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_storage_calls(tmp_path: Path) -> None:
    store = ObjectStore(f"file://{tmp_path}/new%20folder")
    await store.write("a/b", blocks(b"hello ", b"world"))
    await store.move("a/b", "c/d")
    assert await store.size("a/b") is None
    assert await store.size("c/d") == 11
    assert b"".join([piece async for piece in store.read("c/d", 3, 8)]) == b"lo wo"
    await store.delete("c/d")
    await store.delete("c/d")
    assert await store.keys("small", limit=5) == []
    for name in ("b", "a", "c"):
        await store.put(f"small/{name}", name.encode())
    assert await store.keys("small", limit=2) == ["small/a", "small/b"]
    assert (await store.get("small/c"), await store.get("small/d")) == (b"c", None)
    with pytest.raises(Problem) as refused:
        await store.move("a/b", "c/d")
    assert refused.value.code == "storage_unavailable"


async def test_a_bucket_that_is_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gateway.clients.object_store._CALL_TIMEOUT_S", 0.3)
    store = ObjectStore("s3://bucket/prefix")
    for call in (
        store.size("a"),
        store.delete("a"),
        store.move("a", "b"),
        store.put("a", b""),
        store.get("a"),
        store.keys("a", limit=1),
    ):
        with pytest.raises(Problem) as refused:
            await call
        assert refused.value.status == 503


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("storage_url", "ftp://x"),
        ("storage_url", "/srv"),
        ("operation_key", "c2hvcnQ"),
        ("operation_key", "!"),
        ("rate_limit_per_user", "often"),
        ("trusted_proxies", "proxy"),
        ("public_url", "gateway"),
        ("upload_max_bytes", 0),
    ],
)
def test_malformed_settings_are_named(make_settings: Callable[..., Settings], name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        make_settings(**{name: value})
    assert refused.value.errors()[0]["loc"] == (name,)
    assert "c2hvcnQ" not in str(refused.value)
