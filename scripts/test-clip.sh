#!/usr/bin/env bash
# Posts a photo to the running daemon and prints its tags: ./scripts/test-clip.sh [PHOTO]
# Without PHOTO it posts Chelsea, the cat in scikit-image's wheel (CC0), and installs what the tests need for this.
set -euo pipefail
here=$(dirname "$0")
address=${PAWTAG_ADDRESS:-http://127.0.0.1:${PAWTAG_SERVER__PORT:-7860}}
command -v curl >/dev/null || { echo "curl is needed; on Debian and Ubuntu: apt install curl." >&2; exit 1; }
photo=${1:-}
if [[ ! $photo ]]; then
  "$here/install.sh" test
  photo=$("$here/../.venv/bin/python" -c 'from importlib.metadata import files
print(next(path.locate() for path in files("scikit-image") if path.name == "chelsea.png"))')
fi
curl --silent --show-error --fail-with-body --max-time 60 --form "file=@\"$photo\"" "$address/tag"
echo
