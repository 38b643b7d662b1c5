"""Streams that go on where they were, behind Last-Event-ID."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from common.clock import utc_now
from common.errors import Problem
from common.messaging.topology import dead_letter_name, retries_of
from common.testing.amqp import send
from common.testing.eventually import eventually
from gateway import app
from gateway.handlers import live_feed
from gateway.usecases import follow_events, live_streams

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick")]


async def test_what_was_missed_comes_first_then_what_came_meanwhile(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any, keeper: Any
) -> None:
    """The past is read in pages after the subscription; an event that comes both ways is shown once.

    Before it comes the gap where the trail has events that were too long on their way to be in its pages.
    """
    last, *missed = (made(user_id) for _ in range(6))
    new = made(user_id)
    trail.events, trail.page, trail.left_out = [last, *missed], 2, True

    async def meanwhile() -> None:
        trail.before_answer = None
        await tell(missed[-1], new)
        await eventually(lambda: any(stream._waiting for stream in streams))

    trail.before_answer = meanwhile
    streams = gateway.app.state.edge.live_streams
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).data["code"] == "history_unavailable"
        shown = [(await reading.next()).id for _ in range(7)]
        after = made(user_id)
        await tell(after)
        assert (await reading.next()).id == str(after.id)
    assert shown == [str(event.id) for event in (last, *missed, new)]
    first, second = trail.asked[:2]
    assert (first["user_id"], first["behind"]) == (str(user_id), str(last.id))
    assert last.time - timedelta(seconds=12) < parsed(first["since"]) < last.time - timedelta(seconds=8)
    assert parsed(first["asked_at"]) >= last.time
    assert second["since"] == trail.since
    assert second.keys().isdisjoint({"behind", "asked_at"})


async def test_what_analytics_has_in_hand_is_waited_for(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any, keeper: Any, hand_over: Any
) -> None:
    """Its database is away: the queue is empty, and the trail lacks an event. Nothing new is shown before that."""
    last, late, new = made(user_id), made(user_id), made(user_id)
    trail.events = [last]
    keeper.may_store.clear()
    await hand_over(late)
    await eventually(lambda: keeper.got == 1)
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).id == str(last.id)
        await tell(new)
        coming = asyncio.create_task(reading.next())
        await eventually(lambda: keeper.got > 1 or coming.done())
        keeper.may_store.set()
        assert (await coming).id == str(late.id)
        assert (await reading.next()).id == str(new.id)


async def test_each_of_several_that_store_has_to_answer(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any, keepers: Any, hand_over: Any
) -> None:
    """The one that got the event is stalled, the other stores what it gets."""
    last, late, new = made(user_id), made(user_id), made(user_id)
    trail.events = [last]
    stalled = await keepers()
    stalled.may_store.clear()
    await hand_over(late)
    await eventually(lambda: stalled.got == 1)
    other = await keepers()
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).id == str(last.id)
        await tell(new)
        coming = asyncio.create_task(reading.next())
        await eventually(lambda: other.questions > 0 and stalled.got > 1)
        assert not coming.done()
        stalled.may_store.set()
        assert [(await coming).id, (await reading.next()).id] == [str(late.id), str(new.id)]


async def test_what_came_back_from_a_consumer_that_died_is_waited_for(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any, keepers: Any, hand_over: Any
) -> None:
    """The other had answered before; now it has the event in hand, and a third has taken the place of the one that died."""
    last, late, new = made(user_id), made(user_id), made(user_id)
    trail.events = [last]
    dying = await keepers()
    dying.may_store.clear()
    await hand_over(late)
    await eventually(lambda: dying.got == 1)
    other = await keepers()
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).id == str(last.id)
        await tell(new)
        coming = asyncio.create_task(reading.next())
        await eventually(lambda: other.questions > 0 and dying.got > 1)
        other.may_store.clear()
        before = other.got
        await dying.channel.close()
        await eventually(lambda: other.got > before)
        third = await keepers()
        await eventually(lambda: third.questions > 0)
        assert not coming.done()
        other.may_store.set()
        assert [(await coming).id, (await reading.next()).id] == [str(late.id), str(new.id)]


async def test_what_could_not_be_stored_is_a_gap_and_nobody_waits_for_it(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any, keeper: Any, hand_over: Any
) -> None:
    """Its consumer has sent it away just now."""
    last, late, new = made(user_id), made(user_id), made(user_id)
    trail.events = [last]
    keeper.everything = False
    await hand_over(late)
    async with follow(gateway, auth, str(last.id)) as reading:
        await tell(new)
        shown = [await reading.next() for _ in range(4)]
    (gap,) = [frame for frame in shown if frame.id is None]
    shown.remove(gap)
    assert [frame.id for frame in shown] == [str(last.id), str(late.id), str(new.id)]
    assert gap.data["code"] == "history_unavailable"
    assert keeper.questions == 2


@pytest.mark.parametrize("where", retries_of(live_feed.ANALYTICS_QUEUE))
async def test_what_waits_for_another_try_is_a_gap_whoever_put_it_there(
    gateway: Any, auth: Any, user_id: Any, follow: Any, made: Any, trail: Any, keeper: Any, broker_channel: Any, where: str
) -> None:
    """Analytics was started anew since: who answers has stored all that it got."""
    last = made(user_id)
    trail.events = [last]
    await send(broker_channel, where, made(user_id))
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).id == str(last.id)
        assert (await reading.next()).data["code"] == "history_unavailable"


async def test_a_dead_letter_is_a_gap_for_who_was_away_when_it_became_one_and_for_nobody_later(
    gateway: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    trail: Any,
    keeper: Any,
    broker_channel: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gap comes before the events: who got those and not the gap would go on behind both."""
    monkeypatch.setattr(follow_events, "OVERLAP", timedelta(0))
    monkeypatch.setattr(follow_events, "CLOCKS", timedelta(0))
    last = made(user_id)
    trail.events = [last]
    await send(broker_channel, dead_letter_name(live_feed.ANALYTICS_QUEUE), made(user_id))
    async with follow(gateway, auth, str(last.id)) as reading:
        assert (await reading.next()).data["code"] == "history_unavailable"
        assert (await reading.next()).id == str(last.id)
    later, new = made(user_id), made(user_id)
    trail.events = [later]
    async with follow(gateway, auth, str(later.id)) as reading:
        await tell(new)
        assert [(await reading.next()).id for _ in range(2)] == [str(later.id), str(new.id)]


async def test_while_analytics_is_waited_for_heartbeats_go_on(
    run_gateway: Any, services: Any, auth: Any, user_id: Any, follow: Any, made: Any, trail: Any, keeper: Any
) -> None:
    last, late = made(user_id), made(user_id)
    trail.events = [last]
    keeper.may_store.clear()
    async with run_gateway(live_heartbeat_seconds=0.05) as client, follow(client, auth, str(last.id)) as reading:
        assert (await reading.next()).id == str(last.id)
        before = reading.heartbeats
        coming = asyncio.create_task(reading.next())
        await eventually(lambda: reading.heartbeats > before + 2 or coming.done())
        assert not coming.done()
        trail.events.append(late)
        keeper.may_store.set()
        assert (await coming).id == str(late.id)


async def test_while_analytics_is_waited_for_the_token_is_looked_at(
    run_gateway: Any,
    services: Any,
    auth: Any,
    user_id: Any,
    follow: Any,
    made: Any,
    trail: Any,
    keeper: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "LIVE_RECHECK_S", 0.05)
    monkeypatch.setattr(follow_events, "CATCH_UP_S", 3_600.0)
    last = made(user_id)
    trail.events = [last]
    async with run_gateway() as client:
        edge = client.app.state.edge
        monkeypatch.setattr(edge.follower, "_complete_since", asyncio.Event().wait)
        async with follow(client, auth, str(last.id)) as reading:
            assert (await reading.next()).id == str(last.id)
            expired = AsyncMock(side_effect=Problem(401, "token_expired", "The access token has expired."))
            monkeypatch.setattr(edge.authenticator, "authenticate", expired)
            shown = await reading.rest()
    assert [(frame.name, frame.data["code"]) for frame in shown] == [("closed", "token_expired")]


async def test_the_wait_for_analytics_ends_also_while_it_is_asked(
    gateway: Any, auth: Any, user_id: Any, follow: Any, made: Any, trail: Any, keeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_events, "CATCH_UP_S", 0.5)
    monkeypatch.setattr(gateway.app.state.edge.follower, "_complete_since", asyncio.Event().wait)
    async with follow(gateway, auth, str(made(user_id).id)) as reading:
        assert (await reading.next()).data["code"] == "history_unavailable"


async def test_a_connection_that_cancels_what_waits_on_it_leaves_the_queue_unknown(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def channel(self, **_: object) -> object:
            raise asyncio.CancelledError

    feed = gateway.app.state.edge.live_feed
    monkeypatch.setattr(feed, "_connection", Lost())
    assert await feed.trail_queue() is None


@pytest.mark.parametrize("last", ["nonsense", str(uuid4()), "0" * 500, "ffffffff-ffff-7fff-bfff-ffffffffffff"])
async def test_ids_that_are_none_begin_with_a_gap(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, last: str
) -> None:
    new = made(user_id)
    async with follow(gateway, auth, last) as reading:
        gap = await reading.next()
        assert (gap.name, gap.data["code"], gap.id) == ("gap", "last_event_too_old", None)
        await tell(new)
        assert (await reading.next()).id == str(new.id)


async def test_an_id_of_the_day_before_is_too_old(gateway: Any, auth: Any, follow: Any) -> None:
    day_before = int((utc_now() - timedelta(hours=24, minutes=1)).timestamp() * 1000)
    old = f"{day_before:012x}"
    async with follow(gateway, auth, f"{old[:8]}-{old[8:]}-7000-8000-000000000000") as reading:
        assert (await reading.next()).data["code"] == "last_event_too_old"


async def test_without_analytics_there_is_a_gap_and_the_stream_goes_on(
    gateway: Any, auth: Any, user_id: Any, tell: Any, follow: Any, made: Any, trail: Any
) -> None:
    trail.failing = True
    new = made(user_id)
    async with follow(gateway, auth, str(made(user_id).id)) as reading:
        gap = await reading.next()
        assert (gap.name, gap.data["code"]) == ("gap", "history_unavailable")
        await tell(new)
        assert (await reading.next()).id == str(new.id)


async def test_analytics_that_stays_behind_is_a_gap(
    gateway: Any, auth: Any, user_id: Any, follow: Any, made: Any, trail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue does not exist: whether it has everything is never known."""
    monkeypatch.setattr(follow_events, "CATCH_UP_S", 0.2)
    async with follow(gateway, auth, str(made(user_id).id)) as reading:
        assert (await reading.next()).data["code"] == "history_unavailable"


async def test_more_than_may_wait_during_a_replay_is_read_from_the_trail(
    gateway: Any,
    auth: Any,
    user_id: Any,
    tell: Any,
    follow: Any,
    made: Any,
    trail: Any,
    keeper: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_streams, "MAX_WAITING_EVENTS", 2)
    last, *burst = (made(user_id) for _ in range(5))
    trail.events = [last]
    streams = gateway.app.state.edge.live_streams

    async def meanwhile() -> None:
        trail.before_answer = None
        await tell(*burst)
        await eventually(lambda: any(stream.overflowed for stream in streams))
        trail.events += burst

    trail.before_answer = meanwhile
    async with follow(gateway, auth, str(last.id)) as reading:
        shown = [(await reading.next()).id for _ in range(5)]
    assert sorted(shown) == sorted(str(event.id) for event in (last, *burst))


async def test_a_session_that_is_revoked_during_a_long_replay_is_cut(
    gateway: Any, user_keys: Any, user_id: Any, follow: Any, made: Any, trail: Any, keeper: Any, revoke: Any
) -> None:
    """No further page is shown, and no gap is told of: it is the stream that ended, not the trail."""
    session = str(uuid4())
    trail.events, trail.page = [made(user_id) for _ in range(20)], 1
    streams = gateway.app.state.edge.live_streams

    async def after_three_pages() -> None:
        if len(trail.asked) == 4:
            await revoke(session)
            await eventually(lambda: any(stream.closing for stream in streams))

    trail.before_answer = after_three_pages
    auth = user_keys.authorization(user_id, session_id=session)
    async with follow(gateway, auth, str(trail.events[0].id)) as reading:
        shown = await reading.rest()
    assert [frame.id for frame in shown[:-1]] == [str(event.id) for event in trail.events[:3]]
    assert (shown[-1].name, shown[-1].data["code"]) == ("closed", "session_revoked")
    assert len(trail.asked) == 4


async def test_a_session_that_is_revoked_while_its_replay_waits_is_cut(
    gateway: Any,
    user_keys: Any,
    user_id: Any,
    follow: Any,
    made: Any,
    trail: Any,
    revoke: Any,
    keeper: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow_events, "SETTLE_S", 3_600.0)
    session = str(uuid4())
    trail.events = [made(user_id)]
    async with follow(gateway, user_keys.authorization(user_id, session_id=session), str(trail.events[0].id)) as reading:
        assert (await reading.next()).id == str(trail.events[0].id)
        await revoke(session)
        assert [frame.name for frame in await reading.rest()] == ["closed"]


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)
