#!/usr/bin/env bash
# Everything that must hold: lint, types, boundaries, then all tests with the coverage of all members, in the processes that
# test them. The tests run in parts at once, each with servers of its own; with arguments, which go to pytest, those tests in one run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deploy/bootstrap.sh
export PATH="$PWD/.venv/bin:$PATH"
# Tests start hundreds of programs: none is to compile its modules anew, whatever the shell says.
unset PYTHONDONTWRITEBYTECODE

# Tests wait a lot: for processes to start and die, for moments to come. So parts run at once, about equally long.
parts=(
  "services/publisher/tests/domain services/publisher/tests/sources services/publisher/tests/test_[a-o]*.py libs/tiktok*"
  "services/publisher/tests/test_[p-r]*.py services/publisher/tests/test_s[emt]*.py services/publisher/tests/test_[t-z]*.py"
  "services/accounts services/analytics/tests/looks libs/common"
  "services/scheduler services/gateway services/analytics/tests/test_*.py services/analytics/tests/reading_statistics"
  "tests"
  "deploy services/publisher/tests/test_su*.py"
)
# Tests of these parts look at programs; what runs in their own process is known from the others.
unmeasured=(4 5)

step() {
  printf '\n== %s\n' "$*"
}

packages=()
for source in libs/*/src/* services/*/src/* deploy/* bench; do
  if [ -f "$source/__init__.py" ]; then packages+=(-p "$(basename "$source")"); fi
done

# What all parts need is made once, while one processor checks the types: RabbitMQ where it is missing, and compiled modules: those
# of the services and what they import, in a tenth of the time that all tests take to be collected. What fails here fails again
# where it is needed, and is told there.
prepare() {
  PYTHONPATH=deploy python -c 'from localstack.rabbitmq_install import require_server; require_server(print)' || true
  PYTHONPATH=deploy python -c 'import pytest, hypothesis, common.testing.plugin, localstack.stack, system.operator' || true
  local service
  python - services/*/src/* libs/tiktok_simulator/src/* <<'END' || true
import importlib, pathlib, sys
for folder in map(pathlib.Path, sys.argv[1:]):
    if (folder / "__main__.py").exists():
        importlib.import_module(f"{folder.name}.__main__")
END
}
preparing=
if [ $# -eq 0 ]; then
  prepare >/dev/null 2>&1 &
  preparing=$!
  trap 'kill "$preparing" 2>/dev/null || true' EXIT
fi

step ruff
ruff check .
ruff format --check .
step mypy
mypy "${packages[@]}"
# Scripts that are no part of a package.
mypy deploy/covered.py deploy/docker/*.py
step import-linter
lint-imports

if [ $# -gt 0 ]; then
  step pytest "$@"
  exec python -m pytest "$@"
fi

# Programs that tests start are not measured: what they run is tested in their own process, too.
logs=.local/tests/parts
rm -rf "$logs"
mkdir -p "$logs"
wait "$preparing"
step "pytest in ${#parts[@]} parts at once, each shown when it has ended"
running=()
# Job control gives each part a process group of its own: without, it would be deaf to an interrupt and leave its servers.
set -m
for part in "${!parts[@]}"; do
  # Its probes stay in: taking out those that have told what they know took a tenth of the time.
  runner=(python -m slipcover --dont-wrap-pytest --threshold 1000000000 --out "$logs/$part.json")
  if [[ " ${unmeasured[*]} " == *" $part "* ]]; then runner=(python); fi
  # shellcheck disable=SC2086 # a part is several folders and patterns
  "${runner[@]}" -m pytest -p no:cacheprovider --durations=20 ${parts[part]} >"$logs/$part.log" 2>&1 &
  running+=($!)
done
set +m
trap 'for group in "${running[@]}"; do kill -INT -- "-$group" 2>/dev/null; done; wait' EXIT
failed=0
for part in "${!parts[@]}"; do
  status=0
  wait "${running[part]}" || status=$?
  step "pytest ${parts[part]}"
  cat "$logs/$part.log"
  if [ "$status" -ne 0 ]; then failed=1; fi
done
trap - EXIT
if [ "$failed" -ne 0 ]; then
  step "some tests failed"
  grep -h '^\(FAILED\|ERROR\) ' "$logs"/*.log || true
  exit 1
fi

step coverage
python deploy/covered.py "$logs"/*.json
