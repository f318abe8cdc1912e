#!/usr/bin/env bash
# Sends requests that /openapi.json allows, and others, to a daemon of its own: no answer may be a 5xx or undocumented.
# /events is left out, because its answer has no end. Schemathesis gets its own virtual environment, because it needs
# many packages.
set -euo pipefail
cd "$(dirname "$0")/.."
examples=${1:-20}
./scripts/install.sh test
if [[ ! -x .venv/api/bin/st ]]; then
  python3 -m venv .venv/api
  .venv/api/bin/pip install --quiet --disable-pip-version-check 'schemathesis==4.32.5' || {
    echo "pawtag: schemathesis cannot be installed: nothing was fuzzed" >&2
    exit 0
  }
fi
home=$(mktemp -d)
port=$(.venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
PAWTAG_MODEL__ID=embedded PAWTAG_MODEL__CACHE_DIR=$home/cache PAWTAG_STATE__DIR=$home/state PAWTAG_FOLDER__PATH=$home .venv/bin/pawtag run --port "$port" \
  >"$home/log" 2>&1 &
daemon=$!
trap 'kill "$daemon"; wait "$daemon" || true; rm -rf "$home"' EXIT
for _ in $(seq 100); do
  grep -q ready "$home/log" && break
  sleep 0.3
done
grep -q ready "$home/log" || { cat "$home/log" >&2; exit 1; }
st=$PWD/.venv/api/bin/st
cd "$home" # it leaves files where it runs
"$st" run "http://127.0.0.1:$port/openapi.json" --checks not_a_server_error,status_code_conformance \
  --exclude-path /events --max-examples "$examples" --phases examples,fuzzing --seed 1 --request-timeout 5 --generation-database none \
  --no-color --continue-on-failure
