"""Wrong settings are told before anything is touched: each program's own class reads exactly the environment it would get."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence

from localstack.errors import StackError
from localstack.launch import Spec
from localstack.paths import Paths, write_private

CHECK_SECONDS = 60

CHECK = """
import importlib, json, os, sys
from pydantic import ValidationError
from pydantic_settings import SettingsError
from common.settings import problems_of

def check(module):
    Settings = importlib.import_module(module + ".settings").Settings
    try:
        Settings()
    except (ValidationError, SettingsError) as error:
        prefix = Settings.model_config.get("env_prefix", "")
        sys.exit("\\n".join(prefix + line for line in problems_of(error)))

running = []
for module, environment, folder in json.load(sys.stdin):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(theirs, stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        check(module)
        sys.exit()
    os.close(theirs)
    running.append((child, open(ours, errors="replace")))
answers = [(told.read(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child, told in running]
print(json.dumps(answers))
"""
"""What `common.settings.load` does, for the simulator's class too: a line per wrong setting, its name and never its value.

Each program's in a process of its own, forked from one that has imported what all need, which takes longer than the rest.
"""


def unchecked(paths: Paths, specs: Sequence[Spec]) -> list[Spec]:
    """Return the programs whose environment (code included) was not found good yet."""
    known = _known(paths)
    return [spec for spec in specs if known.get(spec.name) != _digest(spec)]


def require_settings(paths: Paths, specs: Sequence[Spec]) -> None:
    """Load the settings of these programs, side by side, and remember those found good.

    Raises StackError with one line per wrong setting. The programs are Python modules, named last on their command lines.
    """
    problems = _problems(specs)
    if any(problems):
        lines = [f"{spec.name}:\n{text}" for spec, text in zip(specs, problems, strict=True) if text]
        raise StackError("\n".join(["settings are missing or malformed; nothing was changed", *lines]))
    known = _known(paths) | {spec.name: _digest(spec) for spec in specs}
    write_private(paths.checked, json.dumps(known, indent=1, sort_keys=True) + "\n")


def _problems(specs: Sequence[Spec]) -> list[str]:
    """Return what is wrong with each program's settings, an empty text when nothing is."""
    command = [sys.executable, "-P", "-c", CHECK]
    programs = json.dumps([(spec.argv[-1], spec.env, spec.cwd) for spec in specs])
    environment = specs[0].env if specs else {}
    try:
        done = subprocess.run(
            command, input=programs, env=environment, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"  they could not be read within {CHECK_SECONDS} s"] * len(specs)
    answers = json.loads(done.stdout) if done.returncode == 0 else [(done.stderr, done.returncode)] * len(specs)
    return [_told(text, status) for text, status in answers]


def _told(text: str, status: int) -> str:
    if status == 0:
        return ""
    # A traceback (code that cannot be imported) is long and its last lines say why.
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-20:]) or f"  status {status}"


def _known(paths: Paths) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(paths.checked.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return known


def _digest(spec: Spec) -> str:
    return hashlib.sha256(json.dumps([spec.argv, spec.env], sort_keys=True).encode()).hexdigest()
