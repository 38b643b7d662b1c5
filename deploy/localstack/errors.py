"""What the local stack tells the person who started it."""

from __future__ import annotations


class StackError(Exception):
    """Something the operator can act on; the message says what and how. Printed without a traceback."""


class NotReadyError(StackError):
    """A program runs, but did not become ready in time."""
