"""What a change of the events breaks for whoever reads them, or reads what was sent before.

Compatible are new events and new fields that may be absent; values that are added to a list of values, since consumers take unknown
ones as they take unknown fields. Anything else is a new event type, `.v2` beside `.v1`; so is a value that is gone or renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from schemas.fields import Field, fields_of

Json = dict[str, Any]
Promises = dict[str, dict[str, Field]]
"""What readers rely on: the fields of each event's `data` by key and path, and those of the envelope under the key `envelope`."""


def breaking_changes(before: Promises, after: Promises) -> list[str]:
    """Return what breaks readers of the one who read the other now; one line each."""
    found = [f"{key}: the event is gone" for key in sorted(before.keys() - after.keys())]
    for key in sorted(before.keys() & after.keys()):
        found += [f"{key}: {change}" for change in _changes(before[key], after[key])]
    return found


def moved_on(before: Promises, after: Promises, *, accepted: frozenset[str] = frozenset()) -> Promises:
    """Return what is promised from now on: `after`, but for events that broke without being `accepted`, which stay as they were."""
    kept = {
        key: fields
        for key, fields in before.items()
        if key not in accepted and (key not in after or any(_changes(fields, after[key])))
    }
    return {**after, **kept}


def promises(document: Json) -> Promises:
    """Return what an AsyncAPI document promises."""
    known = document["components"]["schemas"]
    found = {
        key: _promised(fields_of(_data(message, known), known)) for key, message in document["components"]["messages"].items()
    }
    return {**found, "envelope": _promised(fields_of(known["Envelope"], known))}


def _promised(fields: Iterable[Field]) -> dict[str, Field]:
    return {field.path: replace(field, values=tuple(sorted(set(field.values)))) for field in fields}


def _data(message: Json, known: Json) -> Json:
    reference: str = message["payload"]["allOf"][1]["properties"]["data"]["$ref"]
    schema: Json = known[reference.rpartition("/")[2]]
    return schema


def _changes(old: dict[str, Field], new: dict[str, Field]) -> Iterator[str]:
    for path, field in old.items():
        now = new.get(path)
        if now is None:
            if field.parent in new or not field.parent:
                yield f"{path} is gone"
        elif now.types - field.types:
            yield f"{path} was {_named(field)} and is {_named(now)}"
        elif now.values and (lost := set(field.values) - set(now.values)):
            yield f"{path} is no longer {' or '.join(sorted(lost))}"
        elif field.required and not now.required:
            yield f"{path} may be absent now"
        elif now.required and not field.required:
            yield f"{path} is required now, and what was sent before may lack it"
    for path, field in new.items():
        if path not in old and field.required and (not field.parent or field.parent in old):
            yield f"{path} is new and required, and what was sent before lacks it"


def _named(field: Field) -> str:
    return " or ".join(sorted(field.types))
