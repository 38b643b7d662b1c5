"""SQL with typed parameters."""

from typing import Any

from sqlalchemy import TextClause, bindparam, text


def statement(sql: str, **types: Any) -> TextClause:
    """Return SQL whose parameters have the given types."""
    return text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in types.items()))
