#!/usr/bin/env bash
# Installs what is needed, once, and runs the daemon: ./scripts/run.sh [--watch DIR] [--port N] ...
set -euo pipefail
"$(dirname "$0")/install.sh"
exec "$(dirname "$0")/../.venv/bin/pawtag" run "$@"
