"""Tells which workspace members an image needs: the service's own, and those its pyproject.toml names, and theirs.

`members.py ROOT SERVICE` prints their folders, one per line; with `--launcher` the script that becomes the service.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

FOLDERS = ("services", "libs")
OTHER_NAMES = {"simulator": "tiktok_simulator"}


def module_of(service: str) -> str:
    """Return the module that `python -m` runs for a service, or for `simulator`."""
    return OTHER_NAMES.get(service, service)


def members_of(root: Path, service: str) -> list[Path]:
    """Return the folders of the service's member and of every member it depends on, dependencies first.

    Raises LookupError when there is no such member.
    """
    by_name = {_project(path)["project"]["name"]: path.parent for folder in FOLDERS for path in _projects(root / folder)}
    found: dict[Path, None] = {}

    def add(folder: Path) -> None:
        sources = _project(folder / "pyproject.toml").get("tool", {}).get("uv", {}).get("sources", {})
        for name in sorted(sources):
            if sources[name].get("workspace"):
                add(by_name[name])
        found[folder] = None

    start = next((folder for folder in by_name.values() if folder.name == module_of(service)), None)
    if start is None:
        raise LookupError(f"there is no member {service!r}")
    add(start)
    return list(found)


def launcher(service: str) -> str:
    """Return a script that replaces itself by the service, which then receives the container's signals."""
    return f'#!/bin/sh\nexec python -m {module_of(service)} "$@"\n'


def _projects(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/pyproject.toml"))


def _project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if "--launcher" in sys.argv:
        sys.stdout.write(launcher(sys.argv[2]))
    else:
        sys.stdout.writelines(f"{folder}\n" for folder in members_of(Path(sys.argv[1]), sys.argv[2]))
