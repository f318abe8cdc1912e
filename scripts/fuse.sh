#!/usr/bin/env bash
# Fetches libfuse2 from Debian's or Ubuntu's packages into .venv/fuse, for tests of odd file systems. Nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=.venv/fuse
[[ -z $(find "$folder" -name 'libfuse.so.2' 2>/dev/null) ]] || exit 0
if ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2'; then exit 0; fi
if [[ ! -e /dev/fuse ]] || ! command -v apt-get >/dev/null; then
  echo "pawtag: no FUSE, or no apt-get: tests of odd file systems skip" >&2
  exit 0
fi
mkdir -p "$folder"
(
  cd "$folder"
  apt-get download -qq libfuse2t64 2>/dev/null || apt-get download -qq libfuse2 2>/dev/null ||
    { apt-get update -qq && { apt-get download -qq libfuse2t64 2>/dev/null || apt-get download -qq libfuse2; }; }
  dpkg -x libfuse2*.deb .
) || echo "pawtag: libfuse2 cannot be fetched: tests of odd file systems skip" >&2
