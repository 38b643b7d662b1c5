"""A user's events told again for the gateway's live stream: in stretches that join up, in pages, and nobody else's."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from common.clock import utc_now
from common.contracts.accounts import AccountUpdated
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.ids import uuid7

pytestmark = pytest.mark.integration

PATH = "/internal/events"


def made(user_id: Any, *, ago: float = 0.0) -> Envelope:
    event = AccountUpdated(
        account_id=uuid7(), user_id=user_id, tiktok_user_id="o", username="u", display_name="d", status="active", scopes=[]
    )
    context = Context(user_id=user_id, actor=f"user:{user_id}", client_ip="192.0.2.1", user_agent="a", correlation_id="c")
    time = utc_now() - timedelta(seconds=ago)
    return wrap(event, service="accounts", subject=str(event.account_id), context=context, sequence=7, time=time)


async def told(analytics: Any, user_id: Any, **params: Any) -> dict[str, Any]:
    since = (utc_now() - timedelta(minutes=1)).isoformat()
    answer = await analytics.http.get(
        PATH,
        params={"user_id": str(user_id), "since": since, **params},
        headers=analytics.service_keys.authorization("gateway", "analytics"),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


async def test_an_event_comes_back_as_it_was_told(analytics: Any) -> None:
    user_id = uuid4()
    event, foreign = made(user_id), made(uuid4())
    await analytics.tell(event, foreign)
    await analytics.stored_exactly(2)
    page = await told(analytics, user_id)
    assert page["has_more"] is False
    (item,) = page["items"]
    assert Envelope.model_validate(item) == event
    assert item == event.model_dump(mode="json", exclude_none=True)


async def test_pages_and_passes_join_up(analytics: Any) -> None:
    user_id = uuid4()
    first = [made(user_id, ago=10 - number) for number in range(5)]
    await analytics.tell(*reversed(first))
    await analytics.stored_exactly(5)
    page = await told(analytics, user_id, limit=2)
    seen = ids(page)
    # What is stored meanwhile belongs to the next pass, even where its own time is earlier.
    late = made(user_id, ago=30)
    await analytics.tell(late)
    await analytics.stored_exactly(6)
    while page["has_more"]:
        last = page["items"][-1]
        page = await told(analytics, user_id, limit=2, upto=page["upto"], after_time=last["time"], after_id=last["id"])
        seen += ids(page)
    assert seen == [str(event.id) for event in first]
    following = await told(analytics, user_id, above=page["upto"])
    assert ids(following) == [str(late.id)]
    assert ids(await told(analytics, user_id, above=following["upto"])) == []


async def test_since_is_when_it_was_recorded_by_the_databases_clock(analytics: Any) -> None:
    """An event that was long on its way is told to those who could not have had it before."""
    user_id = uuid4()
    event = made(user_id, ago=7200)
    await analytics.tell(event)
    await analytics.stored_exactly(1)
    page = await told(analytics, user_id)
    assert (ids(page), page["left_out"]) == ([str(event.id)], False)
    later = utc_now() + timedelta(minutes=1)
    assert ids(await told(analytics, user_id, since=later.isoformat())) == []
    # Whoever asks by a clock that is ahead, or saw an event whose maker's clock is, means an earlier moment; pages go on from it.
    half = timedelta(seconds=30)
    by_its_id = {"since": later.isoformat(), "behind": str(event.id)}
    by_an_unknown_id = {"since": (later - half).isoformat(), "behind": str(uuid4())}
    by_another_clock = {"since": later.isoformat(), "asked_at": (later + half).isoformat()}
    for asked in (by_its_id, by_an_unknown_id, by_another_clock):
        page = await told(analytics, user_id, **asked)
        assert ids(page) == ids(await told(analytics, user_id, since=page["since"])) == [str(event.id)]
    await analytics.tell(made(user_id, ago=25 * 3600))
    await analytics.stored_exactly(2)
    left_out = [
        (await told(analytics, user, **asked))["left_out"]
        for user, asked in ((user_id, {}), (user_id, {"above": 1}), (user_id, {"above": 2}), (uuid4(), {}))
    ]
    assert left_out == [True, True, False, False], "one that took longer than a day is in no page, which is told"


async def test_only_the_gateway_asks(analytics: Any) -> None:
    params = {"user_id": str(uuid4()), "since": utc_now().isoformat()}
    for headers, status in [
        ({}, 401),
        (analytics.service_keys.authorization("scheduler", "analytics"), 403),
        (analytics.user_keys.authorization(), 401),
    ]:
        assert (await analytics.http.get(PATH, params=params, headers=headers)).status_code == status


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": 501}, {"since": "yesterday"}, {"above": -1}, {"after_id": str(uuid4())}, {"user_id": "x"}],
)
async def test_wrong_questions_are_refused(analytics: Any, wrong: dict[str, Any]) -> None:
    params = {"user_id": str(uuid4()), "since": utc_now().isoformat(), **wrong}
    headers = analytics.service_keys.authorization("gateway", "analytics")
    assert (await analytics.http.get(PATH, params=params, headers=headers)).status_code == 422
