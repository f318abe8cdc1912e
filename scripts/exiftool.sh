#!/usr/bin/env bash
# Compares pawtag's XMP with exiftool, which it installs from Debian's or Ubuntu's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/install.sh test
if ! command -v exiftool >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -qq --yes --no-install-recommends libimage-exiftool-perl >/dev/null || true
fi
command -v exiftool >/dev/null || {
  echo "pawtag: there is no exiftool, and it cannot be installed: XMP was not compared with it" >&2
  exit 0
}
.venv/bin/python -m pytest tests/integration/test_xmp_exiftool.py "$@"
