#!/usr/bin/env bash
# Fetches promtool from Debian's or Ubuntu's packages into .venv/prometheus. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=.venv/prometheus
[[ ! -x $folder/usr/bin/promtool ]] || exit 0
if command -v promtool >/dev/null || ! command -v apt-get >/dev/null; then exit 0; fi
mkdir -p "$folder"
(
  cd "$folder"
  apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
  dpkg -x prometheus_*.deb .
  rm -- *.deb
) || echo "pawtag: promtool cannot be fetched: its test skips" >&2
