"""Matching the broker's confirms to messages."""

import asyncio

import pytest

from common.messaging.wire.confirms import Confirms, Outcomes
from common.messaging.wire.frames import Confirm


async def test_each_batch_is_done_when_the_broker_has_spoken_about_all_of_it() -> None:
    confirms, first, second = Confirms(), Outcomes(3), Outcomes(2)
    # The middle one of the first could not be written: it has no tag.
    first.note(1, is_taken=False)
    one, two = confirms.expect(first, [0, 2]), confirms.expect(second, [0, 1])
    confirms.hear([Confirm(3, multiple=True, is_taken=True)])
    assert one.done()
    assert not two.done()
    assert (first.confirmed, first.refused, first.unknown) == ([0, 2], [1], [])
    assert (second.confirmed, second.unknown) == ([0], [1])
    confirms.hear([Confirm(4, multiple=False, is_taken=False), Confirm(9, multiple=False, is_taken=True)])
    assert two.done()
    assert second.refused == [1]


async def test_nothing_to_wait_for_is_done_at_once() -> None:
    assert Confirms().expect(Outcomes(0), []).done()


async def test_a_lost_channel_ends_the_waiting_and_the_next_one_counts_from_the_start() -> None:
    confirms, lost, given_up, again = Confirms(), Outcomes(2), Outcomes(1), Outcomes(1)
    waiting, abandoned = confirms.expect(lost, [0, 1]), confirms.expect(given_up, [0])
    abandoned.cancel()
    confirms.hear([Confirm(1, multiple=False, is_taken=True)])
    confirms.begin()
    with pytest.raises(ConnectionError):
        await waiting
    assert (lost.confirmed, lost.unknown) == ([0], [1])
    fresh = confirms.expect(again, [0])
    confirms.hear([Confirm(1, multiple=False, is_taken=True)])
    await asyncio.wait_for(fresh, 60)
    assert again.confirmed == [0]


async def test_a_late_word_about_what_nobody_waits_for_still_counts() -> None:
    confirms, outcomes = Confirms(), Outcomes(1)
    confirms.expect(outcomes, [0]).cancel()
    confirms.hear([Confirm(1, multiple=False, is_taken=True)])
    assert outcomes.confirmed == [0]
