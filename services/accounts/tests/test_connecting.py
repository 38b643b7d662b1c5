"""Connecting a TikTok account: state, PKCE, exchange, profile; every refusal by its own name."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tiktok_simulator.faults import Fault

pytestmark = pytest.mark.integration
URL = "/internal/tiktok/auth/url"
TOKEN = "/v2/oauth/token/"
USER = "/v2/user/info/"
REVOKE = "/v2/oauth/revoke/"


async def test_the_address_carries_what_tiktok_asks_for(accounts: Any) -> None:
    person = await accounts.register()
    answer = (await accounts.http.get(URL, headers=person.auth)).json()
    assert set(answer) == {"auth_url", "state"}
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer["auth_url"]).query).items()}
    assert query["state"] == answer["state"]
    assert query["disable_auto_auth"] == "1"
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 64
    assert "video.publish" in query["scope"].split(",")
    stored = await accounts.scalar("SELECT row_to_json(oauth_states)::text FROM oauth_states")
    assert answer["state"] not in stored
    assert await accounts.scalar("SELECT expires_at - created_at FROM oauth_states") == timedelta(minutes=10)


async def test_a_creator_is_connected_with_profile_and_sealed_tokens(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    creator = accounts.simulator.state.creators.named("demo_public")
    assert shown["tiktok_user_id"] == creator.open_id
    assert (shown["username"], shown["display_name"]) == ("demo_public", creator.display_name)
    assert (shown["status"], shown["follower_count"]) == ("active", creator.follower_count)
    assert "video.publish" in shown["scopes"]
    assert shown["last_synced_at"] is not None
    token = (await accounts.access_token(account_id)).json()["access_token"]
    stored = await accounts.scalar("SELECT row_to_json(account_tokens)::text FROM account_tokens")
    assert token not in stored
    connected = (await events.of("accounts.account.connected.v1"))[0]
    assert (connected.subject, connected.sequence, connected.userid) == (str(account_id), "0000000001", person.user_id)
    assert connected.data["reconnected"] is False
    assert connected.data["tiktok_user_id"] == creator.open_id


async def test_reconnecting_keeps_the_id_also_after_disconnecting(accounts: Any, events: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    first = (await accounts.access_token(account_id)).json()["access_token"]
    assert await accounts.connect(person) == account_id
    assert (await accounts.access_token(account_id)).json()["access_token"] != first
    await accounts.execute("UPDATE tiktok_accounts SET disconnected_at = now(), status = 'expired'")
    assert (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).status_code == 404
    assert await accounts.connect(person) == account_id
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert shown["status"] == "active"
    told = await events.of("accounts.account.connected.v1", 3)
    assert sorted(event.sequence or "" for event in told) == ["0000000001", "0000000002", "0000000003"]
    assert sorted(event.data["reconnected"] for event in told) == [False, True, True]


async def test_a_paused_account_stays_paused_and_an_expired_one_comes_back(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person)
    for before, after in (("expired", "active"), ("inactive", "inactive")):
        await accounts.execute(f"UPDATE tiktok_accounts SET status = '{before}', last_error = 'x'")
        await accounts.connect(person)
        shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
        assert (shown["status"], shown["last_error"]) == (after, None)


async def test_another_users_account_is_refused_until_it_is_free(accounts: Any) -> None:
    owner, other = await accounts.register(), await accounts.register()
    account_id = await accounts.connect(owner)
    refused = await accounts.callback(**await accounts.consent(other))
    assert (refused.status_code, refused.json()["code"]) == (409, "account_owned_by_another_user")
    await accounts.execute("UPDATE tiktok_accounts SET disconnected_at = now()")
    assert await accounts.connect(other) != account_id
    refused = await accounts.callback(**await accounts.consent(owner))
    assert (refused.status_code, refused.json()["code"]) == (409, "account_owned_by_another_user")


async def test_of_two_users_at_once_one_gets_the_account(accounts: Any) -> None:
    people = [await accounts.register() for _ in range(6)]
    redirects = [await accounts.consent(person) for person in people]
    answers = await asyncio.gather(*(accounts.callback(**redirect) for redirect in redirects))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 1


async def test_a_state_is_good_once_even_for_many_at_once(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    answers = await asyncio.gather(*(accounts.callback(**redirect) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"invalid_state"}


async def test_unknown_missing_and_expired_states_are_refused(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    for state in ("", "guessed", "x" * 2000):
        answer = await accounts.callback(code="whatever", state=state)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_state")
    assert (await accounts.callback(code="c", state="x" * 5000)).status_code == 422
    await accounts.execute("UPDATE oauth_states SET expires_at = now() - interval '1 second'")
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_state")
    assert "again" in answer.json()["hint"]


async def test_a_denied_consent_uses_the_state_up(accounts: Any) -> None:
    person = await accounts.register()
    denied = await accounts.consent(person, simulator_deny="1")
    answer = await accounts.callback(**denied)
    assert (answer.status_code, answer.json()["code"]) == (400, "authorization_denied")
    assert (await accounts.callback(**denied)).json()["code"] == "invalid_state"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"error": "access_denied", "error_type": "non_sandbox_target"}, "authorization_denied"),
        ({"error": "server_error", "error_description": "x"}, "authorization_failed"),
        ({}, "code_missing"),
    ],
)
async def test_other_refusals_have_names_of_their_own(accounts: Any, params: dict[str, str], code: str) -> None:
    person = await accounts.register()
    state = (await accounts.http.get(URL, headers=person.auth)).json()["state"]
    answer = await accounts.callback(state=state, **params)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_right_left_unticked_is_named(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.list")
    for hide in (False, True):
        redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.list")
        if hide:
            del redirect["scopes"]
        answer = await accounts.callback(**redirect)
        assert (answer.status_code, answer.json()["code"]) == (400, "missing_scope")
        assert answer.json()["missing_scopes"] == ["video.publish"]
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 0


async def test_what_a_grant_does_not_allow_is_told_when_it_is_connected(accounts: Any) -> None:
    """Posting directly works, so it is connected; that drafts will not is told now, not when the first one is due."""
    person = await accounts.register()
    redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.publish")
    body = (await accounts.callback(**redirect)).json()
    (warning,) = body["warnings"]
    assert (body["success"], warning["code"], warning["scope"]) == (True, "scope_not_granted", "video.upload")
    assert "mode inbox" in warning["message"]
    whole = (await accounts.callback(**await accounts.consent(person))).json()
    assert whole == {"success": True, "account_id": body["account_id"]}


async def test_only_what_the_scopes_show_is_read(accounts: Any) -> None:
    person = await accounts.register()
    account_id = await accounts.connect(person, simulator_scopes="user.info.basic,video.publish")
    shown = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert (shown["username"], shown["follower_count"]) == (shown["display_name"], 0)
    await accounts.connect(person)
    await accounts.connect(person, simulator_scopes="user.info.basic,video.publish")
    again = (await accounts.http.get(f"/internal/accounts/{account_id}", headers=person.auth)).json()
    assert (again["username"], again["display_name"]) == ("demo_public", shown["display_name"]), "what was known stays"


async def test_a_used_or_wrong_code_is_expired(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person) | {"code": "act.some-other*code!"}
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (400, "code_expired")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"endpoint": TOKEN, "status": 503}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "drop": True}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "lost_answer": True}, 502, "tiktok_unavailable"),
        ({"endpoint": TOKEN, "code": "invalid_client"}, 502, "tiktok_refused"),
        ({"endpoint": TOKEN, "code": "rate_limit_exceeded"}, 503, "tiktok_rate_limit_exceeded"),
        ({"endpoint": USER, "status": 500, "times": 3}, 502, "tiktok_unavailable"),
        ({"endpoint": USER, "code": "rate_limit_exceeded", "status": 429}, 503, "tiktok_rate_limit_exceeded"),
        ({"endpoint": USER, "code": "access_token_invalid"}, 502, "tiktok_unavailable"),
        ({"endpoint": USER, "code": "invalid_params"}, 502, "tiktok_refused"),
        ({"endpoint": USER, "code": "scope_not_authorized"}, 400, "profile_not_authorized"),
    ],
)
async def test_tiktok_in_trouble_is_told_and_leaves_nothing_behind(
    accounts: Any, fault: dict[str, Any], status: int, code: str
) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    accounts.simulator.state.faults.add(Fault(**fault))
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await accounts.scalar("SELECT count(*) FROM tiktok_accounts") == 0
    await accounts.connect(person)


async def test_a_profile_that_a_right_does_not_show_is_refused_with_the_right(accounts: Any) -> None:
    redirect = await accounts.consent(
        await accounts.register(), simulator_scopes="user.info.basic,user.info.profile,video.publish"
    )
    accounts.simulator.state.faults.add(Fault(endpoint=USER, code="scope_not_authorized"))
    answer = (await accounts.callback(**redirect)).json()
    assert answer["refused_scopes"] == ["user.info.basic", "user.info.profile"], "those that its fields were asked for by"
    assert "user.info.profile" in answer["detail"]


async def test_a_full_pace_of_our_own_asks_to_wait(accounts: Any) -> None:
    person = await accounts.register()
    redirect = await accounts.consent(person)
    full = "INSERT INTO tiktok_call_pace (endpoint, booked_until) VALUES ('user_info', now() + interval '1 hour')"
    await accounts.execute(full)
    answer = await accounts.callback(**redirect)
    assert (answer.status_code, answer.json()["code"]) == (503, "tiktok_rate_limit_exceeded"), answer.text
    assert answer.headers["retry-after"] == "20"
    await accounts.execute("DELETE FROM tiktok_call_pace")
    await accounts.connect(person)


async def test_a_passing_failure_of_the_profile_or_of_the_database_is_repeated(accounts: Any) -> None:
    person = await accounts.register()
    accounts.simulator.state.faults.add(Fault(endpoint=USER, status=500, times=2))
    async with accounts.busy_once("INSERT ON account_tokens", "40P01"):
        await accounts.connect(person)


@pytest.mark.parametrize("refusal", ["missing_scope", "profile_not_authorized"])
async def test_a_grant_that_is_refused_is_ended_at_tiktok(accounts: Any, refusal: str) -> None:
    answer = await refused_grant(accounts, await accounts.register(), refusal)
    assert answer.json()["code"] == refusal
    creator = accounts.simulator.state.creators.named("demo_public")
    assert not accounts.simulator.state.grants.connected(creator.open_id)


async def test_a_refusal_ends_no_grant_that_somebody_holds(accounts: Any) -> None:
    owner, other = await accounts.register(), await accounts.register()
    await accounts.connect(owner)
    creator = accounts.simulator.state.creators.named("demo_public")
    for disconnected_at in ("NULL", "now()"):
        await accounts.execute(f"UPDATE tiktok_accounts SET disconnected_at = {disconnected_at}")
        assert (await refused_grant(accounts, other, "missing_scope")).json()["code"] == "missing_scope"
        assert accounts.simulator.state.grants.connected(creator.open_id)


async def test_a_refusal_stays_what_it_is_when_the_grant_cannot_be_ended(accounts: Any) -> None:
    accounts.simulator.state.faults.add(Fault(endpoint=REVOKE, status=500))
    answer = await refused_grant(accounts, await accounts.register(), "missing_scope")
    assert (answer.status_code, answer.json()["code"]) == (400, "missing_scope")


async def refused_grant(accounts: Any, person: Any, refusal: str) -> Any:
    """Connect so that it is refused after the code was exchanged."""
    if refusal == "missing_scope":
        redirect = await accounts.consent(person, simulator_scopes="user.info.basic,video.list")
        del redirect["scopes"]
    else:
        redirect = await accounts.consent(person)
        accounts.simulator.state.faults.add(Fault(endpoint=USER, code="scope_not_authorized"))
    return await accounts.callback(**redirect)
