"""Free places are shared out: one user's jobs never have more than are left."""

from datetime import timedelta
from uuid import UUID

import pytest

from common.clock import utc_now
from common.ids import uuid7
from publisher.domain.shares import DueJob, Places, share_out

ONE, OTHER, THIRD = uuid7(), uuid7(), uuid7()


def due(*users: UUID | None) -> list[DueJob]:
    now = utc_now()
    return [DueJob(uuid7(), user_id, now + timedelta(seconds=number)) for number, user_id in enumerate(users)]


@pytest.mark.parametrize(("free", "taken"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (500, 250)])
def test_a_user_alone_gets_half_of_what_is_free(free: int, taken: int) -> None:
    jobs = due(*[ONE] * 600)
    assert share_out(jobs, Places(free)) == jobs[:taken]


def test_the_next_gets_a_place_behind_any_number_of_the_first() -> None:
    jobs = due(*[ONE] * 10, OTHER, OTHER, OTHER, THIRD)
    places = Places(8)
    assert share_out(jobs, places) == [*jobs[:4], jobs[10], jobs[11], jobs[13]]
    assert places.crowded == {ONE, OTHER, THIRD}


def test_what_is_in_hand_counts() -> None:
    jobs = due(ONE, OTHER, ONE)
    assert share_out(jobs, Places(3, {ONE: 2})) == [jobs[0], jobs[1]]
    assert share_out(jobs, Places(2, {ONE: 2})) == [jobs[1]]
    assert share_out(jobs, Places(1, {ONE: 1, OTHER: 1})) == []


def test_who_holds_as_many_as_are_free_is_crowded() -> None:
    assert Places(2, {ONE: 2, OTHER: 1}).crowded == {ONE}


def test_jobs_of_nobody_count_together() -> None:
    jobs = due(None, None, None)
    assert share_out(jobs, Places(2)) == jobs[:1]


def test_of_one_claim_a_user_has_a_share_too() -> None:
    jobs = due(*[ONE] * 6, OTHER, OTHER)
    assert share_out(jobs, Places(100), Places(6)) == [*jobs[:3], *jobs[6:8]]
    assert share_out(jobs, Places(4), Places(100)) == [*jobs[:2], jobs[6]]
