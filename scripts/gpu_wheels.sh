#!/usr/bin/env bash
# Fetch, on a machine with a network, the wheels that a bare CUDA machine lacks: gpu_wheels.sh [FOLDER] [PYTHON VERSION].
# That machine has torch and the usual scientific packages (numpy, pandas, pyarrow, PyYAML, rich, scipy, matplotlib,
# jinja2, pillow); `make gpu PYTHON=python3` there installs these wheels into a folder of its own. dm_control (56 MB) is
# left out: `make gpu` draws CleanUp, whose model is our own.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.wheels}
version=${2:-3.12}

names=(gymnasium Farama-Notifications cloudpickle minigrid pygame-ce mujoco PyOpenGL glfw tyro typeguard docstring_parser)
platforms=()
for number in 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${number}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
mkdir -p "$folder"
for name in "${names[@]}"; do
    pinned=$(grep -i "^$name==" constraints.txt)
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version "$version" --implementation cp "${platforms[@]}" --dest "$folder" "$pinned"
done
du -sh "$folder"
