#!/usr/bin/env bash
# Runs the tests with branch coverage, also of the processes that they start: ./scripts/coverage.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh test
scripts/install.sh check
[[ $# -gt 0 ]] || set -- --numprocesses=auto --maxprocesses=4 --dist=loadfile
.venv/bin/coverage erase
status=0
.venv/bin/coverage run -m pytest "$@" || status=$?
.venv/bin/coverage combine --quiet
.venv/bin/coverage report
exit "$status"
