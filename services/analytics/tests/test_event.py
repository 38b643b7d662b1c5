"""Envelopes become events, whoever sent them."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from analytics.handlers.all_events import decode
from common.contracts.context import Context
from common.contracts.envelope import Envelope, wrap
from common.contracts.scheduler import MediaDeleted
from common.errors import Permanent
from common.ids import uuid7


def envelope(**attributes: object) -> Envelope:
    return Envelope.model_validate(
        {
            "id": uuid7(),
            "type": "cuepost.scheduler.media.deleted.v1",
            "source": "/services/scheduler",
            "subject": "s",
            "time": "2026-11-21T08:00:00+01:00",
            "data": {},
        }
        | attributes
    )


def test_every_attribute_is_kept() -> None:
    user = uuid4()
    context = Context(user, "api_key:7", "192.0.2.1", "curl", "corr", "cause", None)
    wrapped = wrap(MediaDeleted(media_id=user), service="scheduler", subject="m", context=context, sequence=12)
    event = decode(wrapped)
    assert (event.id, event.key, event.source, event.subject) == (
        wrapped.id,
        "scheduler.media.deleted.v1",
        "/services/scheduler",
        "m",
    )
    assert (event.user_id, event.actor, event.client_ip, event.user_agent) == (user, "api_key:7", "192.0.2.1", "curl")
    assert (event.correlation_id, event.causation_id, event.sequence) == ("corr", "cause", 12)
    assert event.data == {"media_id": str(user), "reason": "deleted"}


def test_time_is_the_same_instant_in_utc() -> None:
    assert decode(envelope()).time == datetime(2026, 11, 21, 7, tzinfo=UTC)
    assert decode(envelope()).time.tzinfo is UTC


@pytest.mark.parametrize("time", ["2026-11-21T07:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_names_no_instant_is_refused_for_good(time: str) -> None:
    with pytest.raises(Permanent, match="time"):
        decode(envelope(time=time))


@pytest.mark.parametrize("user_id", [None, 7, "nobody", ["x"]])
def test_a_user_that_is_none_is_left_out(user_id: object) -> None:
    assert decode(envelope(data={"user_id": user_id})).user_id is None


def test_the_user_in_the_data_counts_when_the_envelope_names_none() -> None:
    user, other = uuid4(), uuid4()
    assert decode(envelope(data={"user_id": str(user)})).user_id == user
    assert decode(envelope(data={"user_id": str(user)}, userid=other)).user_id == other


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("scheduler.post.due.v1", "scheduler.post.due"),
        ("scheduler.post.due.v12", "scheduler.post.due"),
        ("scheduler.post.due", "scheduler.post.due"),
        ("scheduler.post.video", "scheduler.post.video"),
        ("v1", "v1"),
    ],
)
def test_a_family_is_a_key_without_its_version(key: str, family: str) -> None:
    assert decode(envelope(type=f"cuepost.{key}", source=f"/services/{key.partition('.')[0]}")).family == family


def test_an_event_of_another_service_is_refused_for_good_unless_an_operator_did_it() -> None:
    """Commands of services tell what operators did with them."""
    with pytest.raises(Permanent, match="is not an event of its source"):
        decode(envelope(source="/services/publisher"))
    assert decode(envelope(type="cuepost.operator.action.v1", source="/services/accounts")).source == "/services/accounts"
