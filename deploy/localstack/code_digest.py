"""Which code a program runs, as a short digest: programs of changed code are changed programs, and `up` restarts those."""

from __future__ import annotations

import hashlib
from pathlib import Path

from localstack.paths import CHECKOUT
from localstack.ports import SERVICES

TIKTOK_SERVICES = ("gateway", "accounts", "publisher", "analytics")
DIGITS = 12


def code_of(program: str) -> str:
    """Return a digest over names and contents of the Python files of the members that a service, or `simulator`, imports."""
    digest = hashlib.sha256()
    for folder in _folders(program):
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(CHECKOUT)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGITS]


def _folders(program: str) -> list[Path]:
    """Return the sources; a member in two digests is read twice, which takes milliseconds."""
    if program not in SERVICES:
        return [CHECKOUT / "libs/tiktok_simulator/src"]
    libraries = ["common", *(["tiktok"] if program in TIKTOK_SERVICES else [])]
    return [*(CHECKOUT / f"libs/{name}/src" for name in libraries), CHECKOUT / f"services/{program}/src"]
