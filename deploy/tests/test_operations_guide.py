"""The commands for the audit trail and its events that docs/operations.md shows run the programs that they are said to run."""

import re
import subprocess

import pytest

from localstack.paths import CHECKOUT

PAGE = (CHECKOUT / "docs/operations.md").read_text(encoding="utf-8")
PROGRAMS = {
    "make audit-verify": "-m localstack audit-verify",
    "make audit-verify known=120034:9f2b...": "-m localstack audit-verify 120034:9f2b...",
    "make audit-export": "-m localstack audit-export",
    "make audit-export after=120034": "-m localstack audit-export 120034",
    "make audit-retention": "-m localstack audit-retention",
    "make audit-retention days=90": "-m localstack audit-retention 90",
    "make audit-user name=datateam": '-m localstack audit-user "datateam"',
    "make audit-tail": "-m audit_tail",
    'make audit-tail only="scheduler.post.# publisher.#"': "-m audit_tail scheduler.post.# publisher.#",
    "make audit-tail json=1": "-m audit_tail --json",
}
"""What their programs do is tested with them: `test_verify.py`, `test_export_trail.py` of analytics, `test_audit_consumers.py`."""


def shown() -> set[str]:
    """Return each such command, without what its output goes to."""
    found = re.findall(r"(?:^|`)(make audit-[^`\n]*)", PAGE, re.MULTILINE)
    return {re.split(r" *(?:[>|]| # )", command.strip(), maxsplit=1)[0] for command in found}


def test_every_command_that_is_shown_is_tried() -> None:
    assert shown() == PROGRAMS.keys()


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_command_runs_its_program_with_what_it_is_given(command: str) -> None:
    ran = subprocess.run(
        ["bash", "-c", command.replace("make ", "make -n ", 1)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    last = " ".join(ran.stdout.splitlines()[-1].split())
    assert last.endswith(PROGRAMS[command])
