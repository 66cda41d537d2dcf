#!/bin/sh
# Make .venv with all that Keybed and its tests need, and see that FluidSynth is there. `make demo` and `make test` call
# it; a second run finds the stamp and does nothing. PIP_ARGS is handed to pip, PYTHON picks the interpreter.
set -eu
cd "$(dirname "$0")"

stamp=.venv/keybed-setup
wanted=$(cat pyproject.toml constraints.txt setup.sh | sha256sum | cut -d' ' -f1)
if [ -z "${PIP_ARGS:-}" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

give_up() {
  echo "setup: $1" >&2
  exit 1
}

# Install Debian packages where that may be done without asking: as root, or with a sudo that wants no password.
apt_install() {
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
  else
    return 1
  fi
  $as_root apt-get -qq update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@" >/dev/null
}

python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || give_up "Keybed needs Python 3.11 or newer; say where it is with PYTHON=/path/to/python3"

if ! [ -x .venv/bin/pip ]; then
  echo "setup: making .venv with $("$python" --version)"
  if ! "$python" -m venv .venv >/dev/null 2>&1; then
    rm -rf .venv
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    { apt_install "python$version-venv" || apt_install python3-venv; } && "$python" -m venv .venv ||
      give_up "$python cannot make a virtual environment: install its venv module (Debian: sudo apt-get install python3-venv), then run make again"
  fi
fi

echo "setup: pip install (the first time it downloads; PIP_ARGS=${PIP_ARGS:-})"
set -f # PIP_ARGS is split into words and nothing else
# shellcheck disable=SC2086
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' ${PIP_ARGS:-}
set +f

fluidsynth_is_there() { .venv/bin/python -c 'from extract.fluidsynth import version; version()' 2>/dev/null; }
if ! fluidsynth_is_there; then
  echo "setup: installing libfluidsynth3"
  apt_install libfluidsynth3 && fluidsynth_is_there ||
    give_up "the FluidSynth library is missing: sudo apt-get install libfluidsynth3, or without root conda install -c conda-forge fluidsynth (it is then found in \$CONDA_PREFIX/lib), then run make again"
fi

echo "$wanted" >"$stamp"
