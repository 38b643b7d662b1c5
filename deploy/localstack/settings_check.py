"""Wrong settings are told before anything is touched: each program's own class reads exactly the environment it would get."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from localstack.errors import StackError
from localstack.launch import Spec
from localstack.paths import Paths, write_private

CHECK_SECONDS = 60

CHECK = """
import importlib, sys
from pydantic import ValidationError
from pydantic_settings import SettingsError
from common.settings import problems_of
Settings = importlib.import_module(sys.argv[1] + ".settings").Settings
try:
    Settings()
except (ValidationError, SettingsError) as error:
    prefix = Settings.model_config.get("env_prefix", "")
    sys.exit("\\n".join(prefix + line for line in problems_of(error)))
"""
"""What `common.settings.load` does, for the simulator's class too: a line per wrong setting, its name and never its value."""


def unchecked(paths: Paths, specs: Sequence[Spec]) -> list[Spec]:
    """Return the programs whose environment (code included) was not found good yet."""
    known = _known(paths)
    return [spec for spec in specs if known.get(spec.name) != _digest(spec)]


def require_settings(paths: Paths, specs: Sequence[Spec]) -> None:
    """Load the settings of these programs, side by side, and remember those found good.

    Raises StackError with one line per wrong setting. The programs are Python modules, named last on their command lines.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        problems = list(pool.map(_problems, specs))
    if any(problems):
        lines = [f"{spec.name}:\n{text}" for spec, text in zip(specs, problems, strict=True) if text]
        raise StackError("\n".join(["settings are missing or malformed; nothing was changed", *lines]))
    known = _known(paths) | {spec.name: _digest(spec) for spec in specs}
    write_private(paths.checked, json.dumps(known, indent=1, sort_keys=True) + "\n")


def _problems(spec: Spec) -> str:
    command = [sys.executable, "-P", "-c", CHECK, spec.argv[-1]]
    try:
        done = subprocess.run(
            command, env=spec.env, cwd=spec.cwd, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"  its settings could not be read within {CHECK_SECONDS} s"
    if done.returncode == 0:
        return ""
    # A traceback (code that cannot be imported) is long and its last lines say why.
    return "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-20:]) or f"  status {done.returncode}"


def _known(paths: Paths) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(paths.checked.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return known


def _digest(spec: Spec) -> str:
    return hashlib.sha256(json.dumps([spec.argv, spec.env], sort_keys=True).encode()).hexdigest()
