#!/usr/bin/env bash
# Resolves the workspace and exports the locks: versions and hashes, no addresses (uv.lock itself stays out of git).
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
"$uv" lock --quiet "$@"
export_lock() { # file, export options
  local file=$1
  shift
  "$uv" export --quiet --frozen --format requirements-txt --no-emit-workspace --no-header --no-annotate "$@" -o "requirements/$file" >/dev/null
}
export_lock dev.txt --all-packages
for service in gateway accounts scheduler publisher analytics; do
  export_lock "$service.txt" --package "cuepost-$service" --no-dev
done
export_lock simulator.txt --package cuepost-tiktok-simulator --no-dev
"$uv" pip compile --quiet --universal --generate-hashes --no-header --no-annotate requirements/tools.in -o requirements/tools.txt >/dev/null
