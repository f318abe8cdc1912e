#!/usr/bin/env bash
# Installs what is needed, once, and runs the tests: ./scripts/test.sh [pytest's arguments]
# Without arguments it runs all tests, in parallel, because most of them wait most of the time.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh test
[[ $# -gt 0 ]] || set -- --numprocesses=auto --maxprocesses=4 --dist=loadfile
exec .venv/bin/python -m pytest "$@"
