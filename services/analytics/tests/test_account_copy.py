"""The copy of an account is the newest event's; the measures in events are the first of their hour and the last of their day."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.domain.account_copy import ACCOUNT_KEYS, AccountCopy, follow_account, measure_in
from analytics.domain.event import Event
from analytics.domain.measures import AccountMeasure, first_of_hours, last_of_days
from common.contracts.registry import EVENTS
from common.ids import uuid7

USER, ACCOUNT = uuid4(), uuid7()
NOW = datetime(2026, 11, 21, 7, 12, tzinfo=UTC)
COUNTS = {"follower_count": 4, "following_count": 3, "likes_count": 2, "video_count": 1}


def told(past: str, sequence: int | None, *, at: datetime = NOW, **data: Any) -> Event:
    data = {"status": "active", "scopes": ["user.info.stats", "video.list"]} | COUNTS | data
    key = f"accounts.account.{past}.v1"
    return Event(uuid7(), key, "/services/accounts", str(ACCOUNT), at, USER, sequence=sequence, data=data)


HISTORY = [
    told("connected", 1),
    told("updated", 2, status="inactive"),
    told("synced", 3, status="inactive"),
    told("expired", 4, status="expired"),
    told("disconnected", 5, status="expired"),
    told("connected", 6, scopes=["user.info.basic"]),
]


def followed(events: list[Event]) -> AccountCopy | None:
    copy: AccountCopy | None = None
    for event in events:
        copy = follow_account(copy, event)
    return copy


@given(st.permutations(HISTORY + HISTORY[2:4]))
def test_any_order_gives_the_newest(events: list[Event]) -> None:
    assert followed(events) == AccountCopy(ACCOUNT, USER, 6, "active", ("user.info.basic",))


def test_its_state_over_time_and_when_it_may_be_looked_at() -> None:
    copies = [followed(HISTORY[:number]) for number in range(1, 7)]
    assert [copy and (copy.status, copy.may_be_looked_at) for copy in copies] == [
        ("active", True),
        ("inactive", False),
        ("inactive", False),
        ("expired", False),
        ("disconnected", False),
        ("active", False),
    ]


def test_what_is_no_news_of_an_account_changes_nothing() -> None:
    known = AccountCopy(ACCOUNT, USER, 1, "active", ())
    odd = [told("connected", None), told("updated", 9, status=7)]
    active = {"status": "active"}
    odd.append(Event(uuid7(), ACCOUNT_KEYS[0], "/services/accounts", "no id", NOW, USER, sequence=9, data=active))
    for event in odd:
        assert follow_account(known, event) is known
    assert follow_account(None, told("updated", 1, scopes="x")) == AccountCopy(ACCOUNT, USER, 1, "active", ())
    assert set(ACCOUNT_KEYS) == {key for key in EVENTS if key.startswith("accounts.account.")}


def test_numbers_that_were_just_read_are_a_measure() -> None:
    synced = told("synced", 2, at=NOW + timedelta(seconds=2), synced_at=NOW.isoformat())
    for event in (told("connected", 1), synced):
        assert measure_in(event, recorded_at=NOW) == AccountMeasure(ACCOUNT, NOW, 4, 3, 2, 1)


@pytest.mark.parametrize(
    "event",
    [
        told("updated", 1),
        told("expired", 1),
        told("connected", 1, scopes=["user.info.basic"]),
        told("synced", 1),
        told("synced", 1, synced_at=(NOW + timedelta(hours=1)).isoformat()),
        told("connected", 1, likes_count=None),
        told("connected", 1, likes_count="4"),
    ],
)
def test_other_numbers_are_old_or_none(event: Event) -> None:
    assert measure_in(event, recorded_at=NOW) is None


@given(st.permutations([0, 5, 29, 30, 61, 61 + 24 * 60]))
def test_of_each_hour_the_first_and_of_each_day_the_last(minutes: list[int]) -> None:
    measures = [
        AccountMeasure(ACCOUNT, NOW.replace(minute=0) + timedelta(minutes=minute), minute, 0, 0, 0) for minute in minutes
    ]
    assert [measure.follower_count for measure in first_of_hours(measures)] == [0, 61, 61 + 24 * 60]
    assert [measure.follower_count for measure in last_of_days(measures)] == [61, 61 + 24 * 60]
