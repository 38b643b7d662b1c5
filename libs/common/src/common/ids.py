"""Identifiers: UUIDv7 (RFC 9562), time-ordered, so that primary keys arrive in index order."""

from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """Return a new UUIDv7; ids made later in one process sort after earlier ones."""
    return _uuid7()
