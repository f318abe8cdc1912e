#!/usr/bin/env bash
# Installs what is needed, once, and runs the tests: ./scripts/test.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh test
exec .venv/bin/python -m pytest "$@"
