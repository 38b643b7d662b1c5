"""Which environment names a service reads: taken from its `settings.py`, without importing it.

So each process gets the settings it declares and no others: the operator's shell does not leak into it, and a secret
reaches only the service that asks for it.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from localstack.paths import CHECKOUT

COMMON = CHECKOUT / "libs/common/src/common/settings.py"
SIMULATOR = CHECKOUT / "libs/tiktok_simulator/src/tiktok_simulator/settings.py"


def declared(program: str) -> frozenset[str]:
    """Return the names that a service, or `simulator`, declares."""
    if program == "simulator":
        return _names(SIMULATOR)
    return _names(COMMON) | _names(CHECKOUT / f"services/{program}/src/{program}/settings.py")


@cache
def _names(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.update(_fields(node))
    return frozenset(found)


def _fields(node: ast.ClassDef) -> set[str]:
    prefix = _prefix(node)
    found: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.add((prefix + statement.target.id).upper())
            found.update(_aliases(statement.value))
    return found


def _prefix(node: ast.ClassDef) -> str:
    for call in ast.walk(node):
        if isinstance(call, ast.keyword) and call.arg == "env_prefix" and isinstance(call.value, ast.Constant):
            return str(call.value.value)
    return ""


def _aliases(value: ast.expr | None) -> set[str]:
    if not isinstance(value, ast.Call):
        return set()
    named = [keyword.value for keyword in value.keywords if keyword.arg in {"alias", "validation_alias"}]
    constants = [node for expression in named for node in ast.walk(expression) if isinstance(node, ast.Constant)]
    return {node.value.upper() for node in constants if isinstance(node.value, str)}
