"""The documents of the events are made from the contracts, hold together, and change only in ways that break nobody."""

import copy
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from common.contracts.envelope import Envelope
from common.contracts.registry import EVENTS, parse
from localstack.paths import CHECKOUT
from schemas.asyncapi import asyncapi
from schemas.breaking import breaking_changes
from schemas.catalogue import catalogue, message_schema
from schemas.documents import ASYNCAPI, SCHEMAS, differences, version_before, wanted, write

Json = dict[str, Any]
OFFICIAL = Path(__file__).parent / "data/asyncapi-3.0.0.schema.json.gz"


def test_what_is_committed_is_what_the_contracts_say() -> None:
    assert sorted(map(str, differences(CHECKOUT))) == [], "run: make schemas"


def test_no_event_changed_in_a_way_that_breaks_its_readers() -> None:
    before = version_before(CHECKOUT)
    assert before is None or breaking_changes(before, asyncapi()) == [], "add a .v2 beside the .v1 instead"


def test_the_asyncapi_document_is_one() -> None:
    official = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    document = asyncapi()
    errors = [error.message for error in jsonschema.Draft7Validator(official).iter_errors(document)]
    assert errors == []
    assert set(document["channels"]) == set(EVENTS)
    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


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
        (envelope_gone, "envelope: userid is gone"),
    ],
)
def test_a_change_that_breaks_somebody_is_named(change: Callable[[Json], None], said: str) -> None:
    new = asyncapi()
    change(new)
    assert said in breaking_changes(asyncapi(), new)


def test_what_is_added_breaks_nobody() -> None:
    new = asyncapi()
    schema_of(new, "PublishStarted")["properties"]["host"] = {"type": "string", "default": ""}
    schema_of(new, "PublishStarted")["properties"]["place"] = {"$ref": "#/components/schemas/MediaFile"}
    schema_of(new, "SessionRevoked")["properties"]["reason"]["enum"].append("expired")
    new["components"]["messages"]["scheduler.post.pinned.v1"] = new["components"]["messages"]["scheduler.post.due.v1"]
    assert breaking_changes(asyncapi(), new) == []
    assert breaking_changes(asyncapi(), asyncapi()) == []


def test_the_version_before_is_the_newest_committed_one_that_differs(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True, timeout=30)

    def put(text: str, *, commit: bool) -> None:
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / ASYNCAPI).write_text(json.dumps({"version": text}))
        if commit:
            git("add", "-A")
            git("commit", "-q", "-m", text)

    assert version_before(tmp_path) is None, "no repository"
    git("init", "-q")
    put("1", commit=False)
    assert version_before(tmp_path) is None, "nothing committed"
    put("1", commit=True)
    assert version_before(tmp_path) is None, "the first one"
    put("2", commit=False)
    assert version_before(tmp_path) == {"version": "1"}, "the last commit's"
    put("2", commit=True)
    assert version_before(tmp_path) == {"version": "1"}, "what the last change replaced"
    (tmp_path / "other").write_text("")
    git("add", "-A")
    git("commit", "-q", "-m", "other")
    assert version_before(tmp_path) == {"version": "1"}, "commits between do not matter"
    git("rm", "-q", str(ASYNCAPI))
    git("commit", "-q", "-m", "removed")
    put("3", commit=False)
    assert version_before(tmp_path) == {"version": "2"}, "nor does removing it for a while"
