"""Lists and details of accounts for owners and for the scheduler, and what a creator may post."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.domain.profile import Profile
from accounts.storage.account_writes import insert_account
from common.ids import uuid7
from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
LIST = "/internal/accounts"
CREATOR_INFO = "/v2/post/publish/creator_info/query/"


async def store(accounts: Any, user_id: UUID, username: str, display_name: str) -> UUID:
    account_id = uuid7()
    profile = Profile(open_id=str(uuid4()), username=username, display_name=display_name)
    async with accounts.database.transaction() as tx:
        await insert_account(tx.connection, account_id, user_id, profile, ["video.publish"])
    return account_id


async def test_a_list_shows_the_users_own_accounts_only(accounts: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(person)
    page = (await accounts.http.get(LIST, headers=person.auth)).json()
    assert set(page) == {"items", "total", "total_is_capped", "cursor", "has_more"}
    assert page["items"][0]["id"] == str(account_id)
    assert set(page["items"][0]) == {
        "id",
        "username",
        "display_name",
        "avatar_url",
        "status",
        "follower_count",
        "following_count",
        "likes_count",
        "video_count",
        "last_synced_at",
        "created_at",
    }
    detail = (await accounts.http.get(f"{LIST}/{account_id}", headers=person.auth)).json()
    assert set(detail) - set(page["items"][0]) == {"tiktok_user_id", "token_expires_at", "scopes", "last_error", "updated_at"}
    assert (await accounts.http.get(LIST, headers=other.auth)).json()["items"] == []
    for path in (f"{LIST}/{account_id}", f"{LIST}/{account_id}/creator-info", f"{LIST}/{uuid4()}", f"{LIST}/no-uuid"):
        assert (await accounts.http.get(path, headers=other.auth)).status_code == 404, path


async def test_search_ignores_case_and_accents_and_takes_wildcards_literally(accounts: Any) -> None:
    person = await accounts.register()
    jose = await store(accounts, person.user_id, "jose_cocina", "José Ñandú")
    percent = await store(accounts, person.user_id, "sale100", "100% Sale_Off")
    for search, found in (
        ("jose", [jose]),
        ("JOSÉ ñ", [jose]),
        ("nandu", [jose]),
        ("0%", [percent]),
        ("%", [percent]),
        ("_off", [percent]),
        ("e_o", [percent]),
        ("nobody", []),
        ("", [percent, jose]),
    ):
        page = (await accounts.http.get(LIST, params={"search": search}, headers=person.auth)).json()
        assert [UUID(item["id"]) for item in page["items"]] == found, search
        assert page["total"] == len(found)


async def test_a_list_is_filtered_and_paged_while_rows_come(accounts: Any) -> None:
    person = await accounts.register()
    ids = [await store(accounts, person.user_id, f"user{number}", "x") for number in range(25)]
    await accounts.execute(f"UPDATE tiktok_accounts SET status = 'inactive' WHERE id = '{ids[3]}'")
    page = (await accounts.http.get(LIST, params={"status": "inactive"}, headers=person.auth)).json()
    assert [item["id"] for item in page["items"]] == [str(ids[3])]
    first = (await accounts.http.get(LIST, headers=person.auth)).json()
    assert (len(first["items"]), first["total"], first["has_more"]) == (20, 25, True)
    await store(accounts, person.user_id, "newcomer", "x")
    rest = (await accounts.http.get(LIST, params={"cursor": first["cursor"]}, headers=person.auth)).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == [str(account_id) for account_id in ids[::-1]]
    assert (rest["cursor"], rest["has_more"]) == (None, False)
    for bad in ({"limit": 0}, {"limit": 51}, {"status": "gone"}, {"cursor": "x"}, {"search": "x" * 101}, {"search": "a\x00"}):
        assert (await accounts.http.get(LIST, params=bad, headers=person.auth)).status_code == 422, bad
    other_list = {"cursor": first["cursor"], "status": "active"}
    assert (await accounts.http.get(LIST, params=other_list, headers=person.auth)).status_code == 422


async def test_the_scheduler_sees_accounts_with_their_version(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    scheduler = accounts.as_service("scheduler")
    path = f"/internal/users/{person.user_id}/accounts"
    listed = (await accounts.http.get(path, headers=scheduler)).json()["items"]
    single = (await accounts.http.get(f"{path}/{account_id}", headers=scheduler)).json()
    assert listed == [single]
    assert (single["version"], single["user_id"], single["status"]) == (1, str(person.user_id), "active")
    assert single["grant_expires_at"] > single["token_expires_at"]
    foreign = await accounts.http.get(f"/internal/users/{uuid4()}/accounts/{account_id}", headers=scheduler)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "account_not_found")
    for headers, status in ((accounts.gateway, 403), (person.auth, 401), ({}, 401)):
        assert (await accounts.http.get(path, headers=headers)).status_code == status


def creator_info_calls(accounts: Any) -> int:
    return sum(accounts.simulator.state.stats.as_json()["requests"].get(CREATOR_INFO, {}).values())


async def test_creator_info_is_asked_once_a_minute_for_all_who_want_it(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    scheduler = accounts.as_service("scheduler")
    asks = [
        (f"{LIST}/{account_id}/creator-info", person.auth),
        (f"{LIST}/{account_id}/creator-info?user_id={uuid4()}", person.auth),
        (f"/internal/users/{person.user_id}/accounts/{account_id}/creator-info", scheduler),
    ]
    answers = await asyncio.gather(*(accounts.http.get(path, headers=headers) for path, headers in asks * 5))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    info = answers[0].json()
    assert info["creator_username"] == "demo_public"
    assert "PUBLIC_TO_EVERYONE" in info["privacy_level_options"]
    assert creator_info_calls(accounts) == 1
    await accounts.connect(person)
    await accounts.http.get(asks[0][0], headers=person.auth)
    assert creator_info_calls(accounts) == 2, "a new grant is asked anew"


async def test_creator_info_is_nobody_elses(accounts: Any) -> None:
    person, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(person)
    path = f"{LIST}/{account_id}/creator-info"
    scheduler = accounts.as_service("scheduler")
    assert (await accounts.http.get(path, headers=other.auth)).status_code == 404
    assert (await accounts.http.get(f"{path}?user_id={person.user_id}", headers=scheduler)).status_code == 401
    mine, others = (f"/internal/users/{user.user_id}/accounts/{account_id}/creator-info" for user in (person, other))
    assert (await accounts.http.get(others, headers=scheduler)).status_code == 404
    assert (await accounts.http.get(mine, headers=other.auth)).status_code == 401
    assert (await accounts.http.get(mine, headers=accounts.gateway)).status_code == 403


async def test_a_dead_token_is_replaced_once_for_creator_info(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    token = (await accounts.access_token(account_id)).json()["access_token"]
    accounts.simulator.state.grants._access.delete(token)
    answer = await accounts.http.get(f"{LIST}/{account_id}/creator-info", headers=person.auth)
    assert answer.status_code == 200
    assert (await accounts.access_token(account_id)).json()["access_token"] != token


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 500, "times": 2}, 502, "tiktok_unavailable"),
        ({"drop": True, "times": 2}, 502, "tiktok_unavailable"),
        ({"code": "access_token_invalid", "status": 401, "times": 2}, 502, "tiktok_unavailable"),
        ({"code": "rate_limit_exceeded", "status": 429}, 503, "tiktok_rate_limit_exceeded"),
        ({"code": "scope_not_authorized", "status": 401}, 409, "missing_scope"),
        ({"code": "spam_risk_too_many_posts", "status": 200}, 409, "tiktok_spam_risk_too_many_posts"),
    ],
)
async def test_why_there_is_no_creator_info_is_told(accounts: Any, fault: dict[str, Any], status: int, code: str) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    accounts.simulator.state.faults.add(Fault(endpoint=CREATOR_INFO, **fault))
    answer = await accounts.http.get(f"{LIST}/{account_id}/creator-info", headers=person.auth)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    again = await accounts.http.get(f"{LIST}/{account_id}/creator-info", headers=person.auth)
    assert again.status_code == 200, "a failure is not remembered"


async def test_however_often_it_is_asked_tiktok_hears_no_more_than_the_share_of_accounts(accounts: Any) -> None:
    """A refusal is not remembered, so each question would be another call; the publisher's posts need the rest of the quota."""
    person = await accounts.register()
    account_id = await accounts.connect(person)
    fault = Fault(endpoint=CREATOR_INFO, code="spam_risk_too_many_posts", status=200, times=1000)
    accounts.simulator.state.faults.add(fault)
    path = f"{LIST}/{account_id}/creator-info"
    answers = [await accounts.http.get(path, headers=person.auth) for _ in range(24)]
    assert [answer.json()["code"] for answer in answers[:4]] == ["tiktok_spam_risk_too_many_posts"] * 4
    # Another one every half a minute, should the machine be that slow.
    assert 4 <= creator_info_calls(accounts) <= 5
    last = answers[-1]
    assert (last.status_code, last.json()["code"]) == (503, "tiktok_rate_limit_exceeded")
    assert 30 <= int(last.headers["Retry-After"]) <= 31


async def test_an_expired_account_has_no_creator_info(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    remembered = await accounts.http.get(f"{LIST}/{account_id}/creator-info", headers=person.auth)
    assert remembered.status_code == 200
    await accounts.execute("UPDATE tiktok_accounts SET status = 'expired'")
    answer = await accounts.http.get(f"{LIST}/{account_id}/creator-info", headers=person.auth)
    assert (answer.status_code, answer.json()["code"]) == (409, "account_expired")
