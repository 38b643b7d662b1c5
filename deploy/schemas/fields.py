"""The fields of a schema as rows: a dotted name each, with what may stand there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A place in a message. `types` are atoms such as `string(uuid)`, `integer`, `null`, `object`, `array`.

    `path` is dotted, `[]` stands for the items of a list, `{}` for the values of a map. `required`: never absent where the
    object it lies in is there. `values` are the only ones, in order, where there is a list of them.
    """

    path: str
    types: frozenset[str]
    required: bool
    values: tuple[str, ...] = ()

    @property
    def parent(self) -> str:
        """The path of what it lies in; empty for the message itself."""
        for end in ("[]", "{}"):
            if self.path.endswith(end):
                return self.path.removesuffix(end)
        return self.path.rpartition(".")[0]


def fields_of(schema: Json, known: Json) -> Iterator[Field]:
    """Yield every field of an object, and of the objects in it; `known` are the schemas that references name."""
    yield from _inside(schema, known, "")


def _inside(schema: Json, known: Json, path: str) -> Iterator[Field]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        yield from _field(field, known, f"{path}.{name}" if path else name, required=name in required)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        yield from _field(extra, known, f"{path}{{}}", required=False)


def _field(schema: Json, known: Json, path: str, *, required: bool) -> Iterator[Field]:
    choices = [_resolved(choice, known) for choice in schema.get("anyOf", (schema,))]
    values = tuple(str(value) for choice in choices for value in _values(choice))
    yield Field(path, frozenset(_atom(choice) for choice in choices), required, values)
    for choice in choices:
        yield from _inside(choice, known, path)
        if isinstance(choice.get("items"), dict):
            yield from _field(choice["items"], known, f"{path}[]", required=False)


def _resolved(schema: Json, known: Json) -> Json:
    found: Json = known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _values(schema: Json) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    return list(schema.get("enum", ()))


def _atom(schema: Json) -> str:
    kind = schema.get("type")
    if kind is None:
        # Anything: pydantic writes no type for `Any`.
        return "string" if _values(schema) else "any"
    return f"{kind}({schema['format']})" if "format" in schema else str(kind)
