"""The documents of the events are made from the contracts, hold together, and change only in ways that break nobody."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from pydantic import ValidationError

from common.contracts.envelope import Envelope
from common.contracts.registry import EVENTS, parse
from localstack.paths import CHECKOUT
from schemas.__main__ import update
from schemas.asyncapi import asyncapi
from schemas.breaking import breaking_changes, moved_on, promises
from schemas.catalogue import catalogue, message_schema
from schemas.documents import ASYNCAPI, PROMISED, SCHEMAS, differences, promised, wanted, write

Json = dict[str, Any]


def test_what_is_committed_is_what_the_contracts_say() -> None:
    assert sorted(map(str, differences(CHECKOUT))) == [], "run: make schemas"


def test_no_event_changed_in_a_way_that_breaks_its_readers() -> None:
    before, after = promised(CHECKOUT), promises(asyncapi())
    assert breaking_changes(before, after) == [], "add a .v2 beside the .v1 instead"
    assert moved_on(before, after) == before, "run: make schemas"


def test_the_asyncapi_document_is_one() -> None:
    document = asyncapi()
    assert faults(document) == []
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == set(EVENTS)
    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_a_document_that_is_none_is_noticed() -> None:
    event = next(iter(EVENTS))
    for place, value in (
        (("info", "version"), None),
        (("servers", "local", "host"), None),
        (("channels", event, "messages"), [1]),
        (("channels", event, "bindings", "amqp", "is"), "nothing"),
        (("operations", f"send {event}", "action"), "take"),
        (("operations", f"send {event}", "channel"), None),
    ):
        document: Json = copy.deepcopy(asyncapi())
        *way, last = place
        node = document
        for name in way:
            node = node[name]
        assert last in node
        node[last] = value
        assert faults(document) != [], place


def faults(document: Json) -> list[str]:
    """Return where a document is not AsyncAPI 3.0, as FastStream's model of such documents has it.

    The model wants two fields that the specification leaves open (https://www.asyncapi.com/docs/reference/specification/v3.0.0).
    """
    complete = copy.deepcopy(document)
    for server in complete["servers"].values():
        server["pathname"] = "/"
    for operation in complete["operations"].values():
        operation["bindings"]["amqp"]["ack"] = True
    try:
        ApplicationSchema.model_validate(complete)
    except ValidationError as error:
        return [".".join(map(str, found["loc"])) for found in error.errors()]
    return []


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return here + [found for value in node.values() for found in references(value)]


@pytest.fixture(scope="module")
def page() -> str:
    return wanted()[Path("docs/events.md")]


@pytest.mark.parametrize("event", catalogue(), ids=lambda event: event.key)
def test_every_event_has_an_example_that_fits(event: Any, page: str) -> None:
    schema = message_schema(event)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.validate(event.example)
    envelope = Envelope.model_validate(event.example)
    assert envelope.key == event.key
    parse(envelope, EVENTS[event.key])
    assert f"\n### {event.key}\n" in page
    assert json.dumps(event.example, indent=2, ensure_ascii=False) in page
    for name in event.schema["properties"]:
        broken = copy.deepcopy(event.example)
        broken["data"][name] = {"of": ["another", "type"]}
        described = event.schema["properties"][name]
        if described.get("type") != "object" and "anyOf" not in described and "$ref" not in described:
            assert list(validator.iter_errors(broken)), f"the schema does not notice a wrong {name}"


def test_stale_documents_are_found_mended_and_removed(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(EVENTS) + 2
    assert write(tmp_path) == []
    stale = SCHEMAS / "scheduler.post.forgotten.v1.json"
    (tmp_path / stale).write_text("{}")
    (tmp_path / ASYNCAPI).write_text("{}")
    assert write(tmp_path) == sorted([ASYNCAPI, stale])
    assert not (tmp_path / stale).exists()


def schema_of(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


def message_gone(document: Json) -> None:
    del document["components"]["messages"]["scheduler.post.due.v1"]


def field_gone(document: Json) -> None:
    del schema_of(document, "PublishStarted")["properties"]["replica"]


def nested_gone(document: Json) -> None:
    del schema_of(document, "MediaFile")["properties"]["sha256"]


def retyped(document: Json) -> None:
    schema_of(document, "PublishStarted")["properties"]["attempt"] = {"type": "string"}


def other_format(document: Json) -> None:
    schema_of(document, "PublishStarted")["properties"]["job_id"] = {"type": "string"}


def nullable(document: Json) -> None:
    schema_of(document, "PublishStarted")["properties"]["due_at"] = {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]
    }


def other_items(document: Json) -> None:
    schema_of(document, "AccountSynced")["properties"]["scopes"]["items"] = {"type": "integer"}


def newly_required(document: Json) -> None:
    schema_of(document, "PublishDeferred")["required"].append("log_id")


def new_and_required(document: Json) -> None:
    schema_of(document, "PublishStarted")["properties"]["host"] = {"type": "string"}
    schema_of(document, "PublishStarted")["required"].append("host")


def no_longer_required(document: Json) -> None:
    schema_of(document, "PublishStarted")["required"].remove("replica")


def value_gone(document: Json) -> None:
    schema_of(document, "SessionRevoked")["properties"]["reason"]["enum"].remove("logout")


def envelope_gone(document: Json) -> None:
    del schema_of(document, "Envelope")["properties"]["userid"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (message_gone, "scheduler.post.due.v1: the event is gone"),
        (field_gone, "publisher.publish.started.v1: replica is gone"),
        (nested_gone, "scheduler.post.due.v1: media.sha256 is gone"),
        (retyped, "publisher.publish.started.v1: attempt was integer and is string"),
        (other_format, "publisher.publish.started.v1: job_id was string(uuid) and is string"),
        (nullable, "publisher.publish.started.v1: due_at was string(date-time) and is null or string(date-time)"),
        (other_items, "accounts.account.synced.v1: scopes[] was string and is integer"),
        (newly_required, "publisher.publish.deferred.v1: log_id is required now, and what was sent before may lack it"),
        (new_and_required, "publisher.publish.started.v1: host is new and required, and what was sent before lacks it"),
        (no_longer_required, "publisher.publish.started.v1: replica may be absent now"),
        (value_gone, "accounts.session.revoked.v1: reason is no longer logout"),
        (envelope_gone, "envelope: userid is gone"),
    ],
)
def test_a_change_that_breaks_somebody_is_named(change: Callable[[Json], None], said: str) -> None:
    new = asyncapi()
    change(new)
    assert said in breaking_changes(promises(asyncapi()), promises(new))


def test_what_is_added_breaks_nobody() -> None:
    new = asyncapi()
    schema_of(new, "PublishStarted")["properties"]["host"] = {"type": "string", "default": ""}
    schema_of(new, "PublishStarted")["properties"]["place"] = {"$ref": "#/components/schemas/MediaFile"}
    schema_of(new, "SessionRevoked")["properties"]["reason"]["enum"].append("expired")
    new["components"]["messages"]["scheduler.post.pinned.v1"] = new["components"]["messages"]["scheduler.post.due.v1"]
    assert breaking_changes(promises(asyncapi()), promises(new)) == []
    assert breaking_changes(promises(asyncapi()), promises(asyncapi())) == []


def test_a_break_is_found_in_any_checkout_and_until_it_is_decided_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a checkout without git's history; the change is made, and all documents are written anew, again and again."""
    key = "publisher.publish.started.v1"
    assert update(tmp_path, ["all"]) == 0
    assert promised(tmp_path) == promises(asyncapi()) == promised(CHECKOUT)

    planted = asyncapi()
    field_gone(planted)
    schema_of(planted, "PublishStarted")["properties"]["place"] = {"type": "string"}
    schema_of(planted, "PublishDeferred")["properties"]["place"] = {"type": "string"}
    for module in ("schemas.documents", "schemas.__main__"):
        monkeypatch.setattr(f"{module}.asyncapi", lambda: planted)
    for _ in range(2):
        assert update(tmp_path, []) == 1
        assert f"BREAKING {key}: replica is gone\n" in capsys.readouterr().err
        assert breaking_changes(promised(tmp_path), promises(planted)) == [f"{key}: replica is gone"]
        assert "place" in promised(tmp_path)["publisher.publish.deferred.v1"], "what breaks nobody is promised at once"

    assert update(tmp_path, ["publisher.publish.deferred.v1"]) == 1
    assert update(tmp_path, [key]) == 0
    assert promised(tmp_path) == promises(planted)


def test_without_what_was_promised_nothing_is_written_unless_all_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(tmp_path, []) == update(tmp_path, ["publisher.publish.started.v1"]) == 2
    assert f"{PROMISED} is missing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert update(tmp_path, ["all"]) == 0
    planted = asyncapi()
    value_gone(planted)
    for module in ("schemas.documents", "schemas.__main__"):
        monkeypatch.setattr(f"{module}.asyncapi", lambda: planted)
    assert update(tmp_path, []) == 1
    assert update(tmp_path, ["all"]) == 0
    assert promised(tmp_path) == promises(planted)


def test_an_event_that_is_gone_is_missed_until_that_is_decided_on() -> None:
    new = asyncapi()
    message_gone(new)
    key, before, after = "scheduler.post.due.v1", promises(asyncapi()), promises(new)
    assert key in moved_on(before, after)
    assert key not in moved_on(before, after, accepted=frozenset({key}))
