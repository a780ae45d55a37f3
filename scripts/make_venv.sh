#!/usr/bin/env bash
# Create the virtual environment for `make`: make_venv.sh FOLDER [PYTHON]. Does nothing when it is there and whole.
set -euo pipefail
venv=$1
wanted=${2:-}

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

for python in ${wanted:-python3 python python3.14 python3.13 python3.12 python3.11}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        break
    fi
    python=
done
if [ -z "${python:-}" ]; then
    echo "make: no Python 3.11 or newer found (tried ${wanted:-python3, python, python3.11 … 3.14}); name one with make PYTHON=…" >&2
    exit 1
fi

if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "make: $python has no venv module; on Debian and Ubuntu: apt-get install python$version-venv" >&2
    exit 1
fi
"$python" -m venv --clear "$venv"
