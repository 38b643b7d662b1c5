"""Pausing, resuming and disconnecting, as commands over RabbitMQ."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.accounts import AccountDisconnected, AccountUpdated, DisconnectAccount, UpdateAccount
from common.database import Transaction
from common.ids import uuid7
from common.messaging.outbox import Outbox

pytestmark = pytest.mark.integration
LIST = "/internal/accounts"


async def version(accounts: Any, account_id: UUID) -> int:
    return int(await accounts.scalar(f"SELECT version FROM tiktok_accounts WHERE id = '{account_id}'"))


async def test_an_account_is_paused_and_resumed_and_each_change_is_told(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    paused = await send(UpdateAccount(account_id=account_id, status="inactive"), person)
    assert paused.status == 200
    detail = (await accounts.http.get(f"{LIST}/{account_id}", headers=person.auth)).json()
    assert paused.body == detail
    assert detail["status"] == "inactive"
    resumed = await send(UpdateAccount(account_id=account_id, status="active"), person)
    assert resumed.body is not None
    assert resumed.body["status"] == "active"
    told = await events.of(AccountUpdated.KEY, 2)
    assert sorted((event.sequence_number, event.data["status"]) for event in told) == [(2, "inactive"), (3, "active")]
    changes = {event.sequence_number: event.data["changes"] for event in told}
    assert changes == {2: {"status": ["active", "inactive"]}, 3: {"status": ["inactive", "active"]}}
    assert {event.actor for event in told} == {f"user:{person.user_id}"}
    assert {event.correlationid for event in told} == {"req-1"}


async def test_the_same_state_again_changes_and_tells_nothing(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    for status in ("active", "inactive", "inactive"):
        reply = await send(UpdateAccount(account_id=account_id, status=status), person)
        assert (reply.status, reply.body and reply.body["status"]) == (200, status)
    assert await version(accounts, account_id) == 2
    assert len(await events.of(AccountUpdated.KEY, 1)) == 1


@pytest.mark.parametrize("status", ["active", "inactive"])
async def test_an_expired_account_has_to_be_connected_again(accounts: Any, send: Any, status: str) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await accounts.execute("UPDATE tiktok_accounts SET status = 'expired', last_error = 'withdrawn'")
    reply = await send(UpdateAccount(account_id=account_id, status=status), person)
    assert (reply.status, reply.body["code"]) == (409, "account_expired")
    assert "Connect" in reply.body["hint"]
    detail = (await accounts.http.get(f"{LIST}/{account_id}", headers=person.auth)).json()
    assert (detail["status"], detail["last_error"]) == ("expired", "withdrawn")


async def test_nobody_changes_anothers_account(accounts: Any, send: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(person)
    for command in (
        UpdateAccount(account_id=account_id, status="inactive"),
        DisconnectAccount(account_id=account_id),
        DisconnectAccount(account_id=uuid4()),
    ):
        reply = await send(command, other)
        assert (reply.status, reply.body["code"]) == (404, "account_not_found")
    assert await version(accounts, account_id) == 1


async def test_a_paused_account_still_hands_out_tokens_and_says_that_it_is_paused(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await send(UpdateAccount(account_id=account_id, status="inactive"), person)
    answer = await accounts.access_token(account_id)
    assert (answer.status_code, answer.json()["status"]) == (200, "inactive")


async def test_a_disconnected_account_is_gone_everywhere_and_told_once(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    reply = await send(DisconnectAccount(account_id=account_id), person)
    assert (reply.status, reply.body) == (204, None)
    scheduler = accounts.as_service("scheduler")
    for path, headers in (
        (f"{LIST}/{account_id}", person.auth),
        (f"{LIST}/{account_id}/creator-info", person.auth),
        (f"/internal/users/{person.user_id}/accounts/{account_id}", scheduler),
        (f"/internal/users/{person.user_id}/accounts/{account_id}/creator-info", scheduler),
    ):
        answer = await accounts.http.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found"), path
    for path, headers in ((LIST, person.auth), (f"/internal/users/{person.user_id}/accounts", scheduler)):
        page = (await accounts.http.get(path, headers=headers)).json()
        assert (page["items"], page["total"]) == ([], 0)
    for command in (DisconnectAccount(account_id=account_id), UpdateAccount(account_id=account_id, status="active")):
        assert (await send(command, person)).status == 404
    (told,) = await events.of(AccountDisconnected.KEY, 1)
    assert (told.subject, told.sequence_number) == (str(account_id), 2)
    assert told.data["tiktok_user_id"]


async def test_a_command_delivered_twice_has_one_effect_and_the_same_answer(accounts: Any, send: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    pause, gone = UpdateAccount(account_id=account_id, status="inactive"), DisconnectAccount(account_id=account_id)
    first_id, second_id = uuid7(), uuid7()
    replies = await asyncio.gather(*(send(pause, person, id=first_id) for _ in range(5)))
    assert all(reply == replies[0] for reply in replies)
    assert replies[0].status == 200
    replies = await asyncio.gather(*(send(gone, person, id=second_id) for _ in range(5)))
    assert {reply.status for reply in replies} == {204}
    assert (await send(pause, person, id=first_id)).status == 200, "the stored answer, not today's"
    assert await version(accounts, account_id) == 3
    assert len(await events.of(AccountUpdated.KEY, 1)) == 1
    assert len(await events.of(AccountDisconnected.KEY, 1)) == 1
    reused = await send(pause, person, id=first_id, hash="another")
    assert (reused.status, reused.body["code"]) == (422, "idempotency_key_reused")


async def test_two_replicas_take_commands_together(start: Any, send: Any, events: Any) -> None:
    first, _ = await start(), await start()
    person = await first.register()
    account_id = await first.connect(person)
    replies = await asyncio.gather(
        *(send(UpdateAccount(account_id=account_id, status="inactive"), person) for _ in range(10)),
        *(send(DisconnectAccount(account_id=account_id), person) for _ in range(4)),
    )
    deleted = [reply.status for reply in replies[10:]]
    assert sorted(deleted) == [204, 404, 404, 404]
    assert {reply.status for reply in replies[:10]} <= {200, 404}
    assert len(await events.of(AccountDisconnected.KEY, 1)) == 1


async def test_a_replica_that_dies_between_effect_and_reply_answers_with_what_it_stored(
    accounts: Any, send: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    committed = Transaction.committed
    died = asyncio.Event()

    def die_once(tx: Transaction) -> None:
        committed(tx)
        if not died.is_set():
            died.set()
            raise ConnectionError("the process died after its commit")

    monkeypatch.setattr(Transaction, "committed", die_once)
    reply = await send(DisconnectAccount(account_id=account_id), person)
    assert died.is_set()
    assert reply.status == 204, "not 404: the effect was this command's own"
    assert len(await events.of(AccountDisconnected.KEY, 1)) == 1
    assert await accounts.scalar("SELECT count(*) FROM grant_revocations") == 1


async def test_an_event_that_cannot_be_written_leaves_no_effect(
    accounts: Any, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    emit, failed = Outbox.emit_all, asyncio.Event()

    async def fail_once(self: Outbox, *args: Any) -> None:
        if not failed.is_set():
            failed.set()
            seen.append(await accounts.scalar("SELECT count(*) FROM grant_revocations"))
            raise RuntimeError("canary")
        await emit(self, *args)

    seen: list[int] = []
    monkeypatch.setattr(Outbox, "emit_all", fail_once)
    reply = await send(DisconnectAccount(account_id=account_id), person)
    assert (reply.status, seen) == (204, [0]), "tried again a second later, as a whole"


async def test_the_answer_is_kept_for_the_operation(accounts: Any, send: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(person)
    done, refused = uuid7(), uuid7()
    await send(DisconnectAccount(account_id=account_id), person, id=done)
    await send(DisconnectAccount(account_id=account_id), person, id=refused)
    answer = await accounts.http.get(f"/internal/operations/{done}", headers=person.auth)
    assert answer.json() == {"status": 204, "body": None, "headers": {}}
    answer = await accounts.http.get(f"/internal/operations/{refused}", headers=person.auth)
    assert (answer.json()["status"], answer.json()["body"]["code"]) == (404, "account_not_found")
    for command_id, headers in ((done, other.auth), (uuid7(), person.auth)):
        answer = await accounts.http.get(f"/internal/operations/{command_id}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "operation_pending")
    assert (await accounts.http.get("/internal/operations/x", headers=person.auth)).status_code == 404
    assert (await accounts.http.get(f"/internal/operations/{done}")).status_code == 401


async def test_reconnecting_brings_the_same_account_back_active(accounts: Any, send: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    await send(UpdateAccount(account_id=account_id, status="inactive"), person)
    await send(DisconnectAccount(account_id=account_id), person)
    assert await accounts.connect(person) == account_id
    detail = (await accounts.http.get(f"{LIST}/{account_id}", headers=person.auth)).json()
    assert detail["status"] == "active"
    assert await accounts.scalar("SELECT count(*) FROM grant_revocations") == 0
    assert (await accounts.access_token(account_id)).status_code == 200
