#!/usr/bin/env bash
# Makes .venv with every locked dependency and the members of the workspace, from nothing but Python >= 3.11.
# Done already: returns at once. Two runs at the same time wait for each other. Caches stay inside the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
stamp=.local/bootstrap.stamp

fail() {
  printf 'error: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then printf '  %s\n' "${@:2}" >&2; fi
  exit 1
}

digest() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

wanted() {
  {
    printf '%s\n' "$root"
    cat requirements/tools.txt requirements/dev.txt pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml
    cat deploy/bootstrap.sh
  } | digest
}

is_current() {
  [ -x .venv/bin/python ] && [ -x .local/tools/bin/uv ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted)" ]
}

is_current && exit 0

version_of() { # prints the minor version of a working CPython 3.11 or newer
  "$1" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.version_info.minor)' 2>/dev/null || true
}

find_python() { # newest first; PYTHON overrides
  local best='' best_minor=0 candidate minor
  if [ -n "${PYTHON:-}" ]; then
    [ -n "$(version_of "$PYTHON")" ] || fail "PYTHON=$PYTHON is not a working Python 3.11 or newer"
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3 python3.{11..20}; do
    command -v "$candidate" >/dev/null || continue
    minor=$(version_of "$candidate")
    if [ -n "$minor" ] && [ "$minor" -gt "$best_minor" ]; then
      best=$candidate best_minor=$minor
    fi
  done
  [ -n "$best" ] || fail "Python 3.11 or newer was not found" \
    "Debian 12, Ubuntu 24.04 or newer:  sudo apt-get update && sudo apt-get install python3 python3-venv" \
    "macOS:                             brew install python@3.13" \
    "or name one:                       PYTHON=/path/to/python3.12 make up"
  printf '%s\n' "$best"
}

ensure_venv_module() { # Debian packs venv and ensurepip apart
  local python=$1 package as_root=()
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  package=python3.$(version_of "$python")-venv
  command -v apt-get >/dev/null || fail "$python has no ensurepip and venv modules; install them or name another one: PYTHON=... make up"
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "$python cannot make virtual environments yet; run once:" \
      "sudo apt-get update && sudo apt-get install $package"
    as_root=(sudo -n)
  fi
  echo "Installing $package" >&2
  install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends)
  "${install[@]}" "$package" >/dev/null 2>&1 ||
    { "${as_root[@]}" apt-get update -q >/dev/null && { "${install[@]}" "$package" || "${install[@]}" python3-venv; } >/dev/null; } ||
    fail "could not install $package; run: apt-get update && apt-get install $package"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$package is installed, but $python still cannot make virtual environments"
}

is_moved() { # environments name their own place in their scripts and do not survive a move of the checkout
  [ -f "$1" ] && ! grep -q -F "$root/" "$1"
}

install_tools() {
  local python=$1
  if ! .local/tools/bin/python -c '' 2>/dev/null || is_moved .local/tools/bin/pip; then
    rm -rf .local/tools
    "$python" -m venv .local/tools
  fi
  PIP_CACHE_DIR=${PIP_CACHE_DIR:-$root/.local/cache/pip} .local/tools/bin/python -m pip install \
    --quiet --disable-pip-version-check --require-hashes --requirement requirements/tools.txt
}

members() {
  "$1" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["uv"]["workspace"]["members"], sep="\n")'
}

install_project() {
  local python=$1 uv=.local/tools/bin/uv member editables=()
  export UV_CACHE_DIR=${UV_CACHE_DIR:-$root/.local/cache/uv} UV_PYTHON_DOWNLOADS=never
  if ! .venv/bin/python -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null || is_moved .venv/bin/mypy; then
    rm -rf .venv
    "$uv" venv --quiet --python "$(command -v "$python")" .venv
  fi
  "$uv" pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
  while read -r member; do editables+=(-e "$member"); done < <(members "$python")
  "$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation "${editables[@]}"
}

python=$(find_python)
mkdir -p .local
if [ "${1:-}" != --locked ]; then
  # The lock lives as long as the descriptor, so that a killed run leaves nothing behind.
  exec "$python" -c '
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.set_inheritable(descriptor, True)
os.execvp("bash", ["bash", sys.argv[2], "--locked"])
' .local/bootstrap.lock "$root/deploy/bootstrap.sh"
fi

echo "Installing what Cuepost needs into .venv (once)" >&2
began=$SECONDS
ensure_venv_module "$python"
install_tools "$python"
install_project "$python"
wanted >"$stamp.new"
mv "$stamp.new" "$stamp"
echo "Installed in $((SECONDS - began)) s" >&2
