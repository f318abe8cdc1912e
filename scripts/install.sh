#!/usr/bin/env bash
# Makes .venv and installs pawtag into it, with the extra named ("test", "check"), once.
# PAWTAG_TORCH_INDEX: where torch's CPU build is asked for when the configured sources lack it; empty: nowhere.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:-}
torch=$(sed -n 's/^torch==//p' constraints.txt)
torch_index=${PAWTAG_TORCH_INDEX-https://download.pytorch.org/whl/cpu}
python=${PYTHON:-python3}

die() { echo "pawtag: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  die "Python 3.11 or newer is needed; set PYTHON to one (now: $("$python" --version 2>&1 || echo none))."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  die "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv."

stamp=".venv/installed${extra:+-$extra}"
state=$(cat pyproject.toml constraints.txt scripts/install.sh | cksum)
[[ ! -f $stamp || $(cat "$stamp") != "$state" ]] || exit 0

[[ -x .venv/bin/python ]] || "$python" -m venv .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)

install_torch() {
  if .venv/bin/python -c 'import torch' 2>/dev/null; then return; fi
  if [[ $(uname) == Darwin ]] || command -v nvidia-smi >/dev/null; then
    "${pip[@]}" "torch==$torch"
  elif "${pip[@]}" "torch==$torch+cpu" 2>/dev/null; then
    return
  elif [[ $torch_index ]]; then
    "${pip[@]}" --extra-index-url "$torch_index" "torch==$torch+cpu"
  else
    die "no CPU build of torch $torch was found; set PAWTAG_TORCH_INDEX, or install torch into .venv yourself."
  fi
}

echo "pawtag: installing into .venv (once)" >&2
install_torch || die "torch $torch could not be installed (see above)."
"${pip[@]}" --constraint constraints.txt --editable ".${extra:+[$extra]}"
echo "$state" >"$stamp"
