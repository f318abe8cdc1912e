#!/usr/bin/env bash
# Checks a built image with the restrictions of docker-compose.yml: user, capabilities, privileges, writable files.
#   ./scripts/container_scan.sh [IMAGE]        ENGINE="podman" takes another engine than docker
set -euo pipefail
image=${1:-pawtag}
read -r -a engine <<<"${ENGINE:-docker}"
"${engine[@]}" run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --entrypoint sh "$image" -c '
  broken=0
  say() { echo "BROKEN: $*"; broken=1; }
  [ "$(id -u)" != 0 ] || say "it runs as root"
  grep -q "^CapEff:[[:space:]]*0*$" /proc/self/status || say "it has capabilities"
  grep -q "^CapBnd:[[:space:]]*0*$" /proc/self/status || say "it could get capabilities"
  grep -q "^NoNewPrivs:[[:space:]]*1$" /proc/self/status || say "it may get new privileges"
  (: >/opt/pawtag/x) 2>/dev/null && say "its own code can be written"
  found=$(find / -xdev \( -path /proc -o -path /tmp -o -path /cache -o -path /photos \) -prune -o \
    -perm -0002 \( -type f -o -type d \) ! -perm -1000 -print 2>/dev/null)
  [ -z "$found" ] || say "anyone may write: $found"
  found=$(find /opt/pawtag -xdev \( -perm -4000 -o -perm -2000 \) -type f -print)
  [ -z "$found" ] || say "files of pawtag are setuid: $found"
  [ $broken = 1 ] || echo "user $(id -u), no capabilities, no new privileges, nothing that anyone may write"
  exit $broken
'
