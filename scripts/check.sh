#!/usr/bin/env bash
# Format, lint, types, layers, spelling and the catalogue of faults; "./scripts/check.sh --fix" repairs what it can.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh check
bin=.venv/bin
if [[ ${1:-} == --fix ]]; then
  "$bin/ruff" check --quiet --fix . || true
  "$bin/ruff" format --quiet .
fi
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
"$bin/lint-imports"
git ls-files -z | xargs -0 "$bin/codespell"
"$bin/python" scripts/faults.py
scripts/audit.sh
