"""Answers that hold secrets must not stay in any cache (RFC 9111, section 5.2.2.5)."""

from fastapi import Response


def never_stored(response: Response) -> None:
    """Mark the answer as not to be stored; a dependency of routers."""
    response.headers["Cache-Control"] = "no-store"
