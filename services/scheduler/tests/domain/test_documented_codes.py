"""docs/posts.md and docs/media.md explain every code that the scheduler gives, and every next step of a post."""

import ast
from collections.abc import Iterator
from pathlib import Path

import scheduler
from scheduler.usecases.post_status import _NEXT_STEPS, _WAIT_FOR_ACCOUNT

SOURCES = Path(scheduler.__file__).parent
DOCS = Path(__file__).parents[4] / "docs"
PLACES = {"Finding": 1, "Problem": 1, "FieldError": 1, "MediaProblem": 1, "Reason": 0, "Hold": 0}
"""Where those who make findings, refusals and reasons take the code."""
INTERNAL = {"operation_pending", "unauthorized"}
"""Said to the gateway alone."""


def codes(tree: ast.AST) -> Iterator[str]:
    """Yield the constants that are codes: arguments at their place, the keyword `code`, the member `code` of an object."""
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            place = PLACES.get(getattr(node.func, "id", ""), len(node.args))
            found = [*node.args[place : place + 1], *(item.value for item in node.keywords if item.arg == "code")]
        elif isinstance(node, ast.Dict):
            found = [value for key, value in zip(node.keys, node.values, strict=True) if getattr(key, "value", None) == "code"]
        yield from (one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str))


def test_every_code_and_next_step_is_explained() -> None:
    given = {code for path in SOURCES.rglob("*.py") for code in codes(ast.parse(path.read_text()))} - INTERNAL
    assert len(given) > 50
    steps = {step for step in _NEXT_STEPS.values() if step is not None} | {_WAIT_FOR_ACCOUNT}
    pages = "".join((DOCS / page).read_text() for page in ("posts.md", "media.md"))
    assert sorted(word for word in given | steps if f"`{word}`" not in pages) == []
