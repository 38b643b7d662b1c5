#!/usr/bin/env bash
# Everything that must hold: lint, types, boundaries, then all tests with the coverage of all members, their
# subprocesses included. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deploy/bootstrap.sh
export PATH="$PWD/.venv/bin:$PATH"

step() {
  printf '\n== %s\n' "$*"
}

packages=()
for source in libs/*/src/* services/*/src/* deploy/*; do
  if [ -f "$source/__init__.py" ]; then packages+=(-p "$(basename "$source")"); fi
done

step ruff
ruff check .
ruff format --check .
step mypy
mypy "${packages[@]}"
step import-linter
lint-imports

step pytest
# Subprocesses find the configuration by its absolute path and put their data beside ours, wherever they run.
export COVERAGE_PROCESS_START="$PWD/pyproject.toml" COVERAGE_FILE="$PWD/.coverage"
coverage erase
coverage run -m pytest "$@"
step coverage
coverage combine --quiet
coverage report --fail-under=85
step "coverage of the code that decides whether and when something is published"
coverage report --fail-under=100 --include="$(grep -v '^#' deploy/decisions.txt | paste -sd,)"
