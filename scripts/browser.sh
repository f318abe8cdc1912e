#!/usr/bin/env bash
# Tests the page in a real browser: installs Playwright into .venv, and Chromium from Debian's or Ubuntu's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/install.sh test
./scripts/install.sh browser
if ! command -v chromium chromium-browser google-chrome >/dev/null; then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium >/dev/null || true
  fi
  command -v chromium chromium-browser google-chrome >/dev/null || {
    echo "pawtag: there is no Chromium, and it cannot be installed: the page was not tested" >&2
    exit 0
  }
fi
.venv/bin/python -m pytest tests/browser "$@"
