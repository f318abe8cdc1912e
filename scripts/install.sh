#!/usr/bin/env bash
# Makes .venv and installs pawtag into it, with the extra named ("test", "check"), once.
# PAWTAG_TORCH_INDEX: the index for torch's CPU build, used if the configured sources lack it; empty: no such index.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:-}
torch=$(sed -n 's/^torch==//p' constraints.txt)
torch_index=${PAWTAG_TORCH_INDEX-https://download.pytorch.org/whl/cpu}
python=${PYTHON:-python3}

die() { echo "pawtag: $*" >&2; exit 1; }

command -v "$python" >/dev/null ||
  die "Python 3.11 or newer is needed; on Debian and Ubuntu: apt install python3 python3-venv."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "Python 3.11 or newer is needed; set PYTHON to one ($("$python" --version) is too old)."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  die "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv."

stamp=".venv/installed${extra:+-$extra}"
describe_place() { echo "$PWD $("$1" -V 2>/dev/null)"; }
describe_state() { echo "$(cat pyproject.toml constraints.txt scripts/install.sh | cksum) $place"; }

# Another Python that comes first in PATH is no reason to make a working .venv again; PYTHON is one.
place=$(describe_place "${PYTHON:-.venv/bin/python}")
[[ ! -f $stamp || $(cat "$stamp") != "$(describe_state)" ]] || exit 0

# A virtual environment knows its own path and its Python: after a move or an update it is made again.
if [[ ! -f .venv/place || $(cat .venv/place) != "$place" ]]; then
  "$python" -m venv --clear .venv
  place=$(describe_place .venv/bin/python)
  echo "$place" >.venv/place
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check install --quiet)

install_torch() {
  local installed='from importlib.metadata import version; print(version("torch").split("+")[0])'
  [[ $(.venv/bin/python -c "$installed" 2>/dev/null) != "$torch" ]] || return 0
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
describe_state >"$stamp"
echo "pawtag: installed" >&2
