"""Every event of the contracts, with what documents need of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from pydantic.json_schema import models_json_schema

from common.contracts.envelope import TYPE_PREFIX, Envelope
from common.contracts.message import Event
from common.contracts.registry import EVENTS
from schemas.examples import AGENT, API_KEY, IP, MOMENT, REQUEST, USER, data_example

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOT_OF_EVENTS = ("requesthash",)
"""Attributes that only commands carry."""

_SUBJECTS = {
    "user": "user_id",
    "session": "session_id",
    "api_key": "api_key_id",
    "account": "account_id",
    "account_stats": "account_id",
    "post": "post_id",
    "publish": "post_id",
    "media": "media_id",
    "login": "user_id",
    "webhook": "user_openid",
    "connect": "user_id",
    "sync": "account_id",
    "access": "api_key_id",
}
_SEQUENCES = {
    "account": "the account's version",
    "post": "the post's version",
    "media": "the file's version",
    "publish": "the job's step counter",
}
_MAYBE_UNKNOWN = tuple(
    f"accounts.{family}.v1" for family in ("login.failed", "api_key.refused", "connect.failed", "session.refresh_refused")
)
_BY_THE_MACHINE = ("account_stats", "publish", "webhook")


@dataclass(frozen=True)
class EventType:
    """One type of event. `schema` describes its `data`, with references into `definitions` of the catalogue."""

    key: str
    name: str
    description: str
    schema: Json
    example: Json

    @property
    def service(self) -> str:
        """The first part of its key."""
        return self.key.partition(".")[0]

    @property
    def entity(self) -> str:
        """The second part of its key: what it is about."""
        return self.key.split(".")[1]

    @property
    def subject(self) -> str:
        """What the envelope's `subject` is."""
        field = _SUBJECTS.get(self.entity)
        if field is None:
            return "what was acted on"
        return f"`{field}`, `unknown` without one" if self.key in _MAYBE_UNKNOWN else f"`{field}`"

    @property
    def sequence(self) -> str | None:
        """What the envelope's `sequence` counts; None where the event carries none."""
        return _SEQUENCES.get(self.entity)


def paragraph(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(inspect.cleandoc(text).split())


def without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of field names, and with descriptions in one line."""
    if isinstance(schema, list):
        return [without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Json = {}
    for name, value in schema.items():
        if name == "properties":
            kept[name] = {field: without_titles(inner) for field, inner in value.items()}
        elif name == "description":
            kept[name] = paragraph(value)
        elif name != "title":
            kept[name] = without_titles(value)
    return kept


@cache
def definitions(prefix: str) -> Json:
    """Return the schemas of all `data` and of what lies in them by name; references are `prefix` and a name. Do not change it."""
    wanted = [(kind, "validation") for kind in EVENTS.values()]
    _, found = models_json_schema(wanted, ref_template=prefix + "{model}")  # type: ignore[arg-type] # a literal mode
    schemas: Json = {name: without_titles(schema) for name, schema in found["$defs"].items()}
    return dict(sorted(schemas.items()))


def envelope_schema() -> Json:
    """Return the schema of what stands around `data`."""
    schema: Json = without_titles(Envelope.model_json_schema())
    for name in NOT_OF_EVENTS:
        del schema["properties"][name]
    return schema


@cache
def catalogue() -> tuple[EventType, ...]:
    """Return every event type, by key."""
    schemas = definitions("#/$defs/")
    return tuple(_event_type(key, kind, schemas) for key, kind in sorted(EVENTS.items()))


def _event_type(key: str, kind: type[Event], schemas: Json) -> EventType:
    schema = schemas[kind.__name__]
    made = EventType(key, kind.__name__, paragraph(kind.__doc__ or ""), schema, {})
    return EventType(made.key, made.name, made.description, schema, _example(made, kind))


def _example(event: EventType, kind: type[Event]) -> Json:
    data = kind.model_validate(data_example(event.key, kind)).to_data()
    subject = data.get(_SUBJECTS.get(event.entity, ""), "scheduler.commands")
    by_machine = event.entity in _BY_THE_MACHINE or event.key.startswith("scheduler.post.due")
    is_webhook = event.entity == "webhook"
    envelope = {
        "id": UUID("01a228df-31e1-73ab-b175-9cb50a007951"),
        "type": TYPE_PREFIX + event.key,
        "source": f"/services/{event.service}",
        "subject": str(data["media"]["media_id"] if event.key.startswith("scheduler.media.ready") else subject),
        "time": MOMENT,
        "data": data,
        "userid": None if event.service == "operator" or is_webhook else USER,
        "actor": _actor(event, by_machine=by_machine),
        "clientip": None if by_machine or event.service == "operator" else IP,
        "useragent": None if by_machine or event.service == "operator" else AGENT,
        "correlationid": None if event.service == "operator" else REQUEST,
        "causationid": "01a228df-2c5f-7a11-8e2c-1f6a40d1c2b3" if event.sequence else None,
        "sequence": "0000000003" if event.sequence else None,
    }
    written: Json = Envelope.model_validate(envelope).model_dump(mode="json", exclude_none=True)
    return written


def _actor(event: EventType, *, by_machine: bool) -> str:
    if event.service == "operator":
        return "operator:root"
    if event.entity == "webhook":
        return "webhook:tiktok"
    if event.entity == "access":
        return f"api_key:{API_KEY}"
    return f"service:{event.service}" if by_machine else f"user:{USER}"


def message_schema(event: EventType) -> Json:
    """Return the JSON Schema of a whole message of this type."""
    envelope = envelope_schema()
    properties = {
        **envelope["properties"],
        "type": {"const": TYPE_PREFIX + event.key},
        "data": {"$ref": f"#/$defs/{event.name}"},
    }
    return {
        "$schema": DIALECT,
        "$id": f"urn:cuepost:event:{event.key}",
        "title": event.name,
        "description": event.description,
        "type": "object",
        "properties": properties,
        "required": envelope["required"],
        "$defs": _used(event.name, definitions("#/$defs/")),
    }


def _used(name: str, schemas: Json) -> Json:
    """Return a schema and those it refers to, by name."""
    found: Json = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = schemas[current]
            waiting += sorted(references(schemas[current]))
    return dict(sorted(found.items()))


def references(schema: Any) -> set[str]:
    """Return the names of the schemas that a schema refers to."""
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    here = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return here.union(*(references(value) for value in schema.values()))
