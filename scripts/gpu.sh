#!/usr/bin/env bash
# `make gpu` with an interpreter that is taken as it is: gpu.sh PYTHON [OPTIONS of experiments.gpu].
# Nothing is installed but the wheels that scripts/gpu_wheels.sh left in .wheels, and those into a folder of this checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: gpu.sh PYTHON [OPTIONS of experiments.gpu]}
shift
if ! command -v "$python" >/dev/null; then
    echo "make gpu: there is no $python" >&2
    exit 2
fi
site=$PWD/build/gpu_site
if ! PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH} "$python" -c 'import gymnasium, minigrid, mujoco, OpenGL, tyro, numpy, pandas, pyarrow, rich, scipy, yaml' >/dev/null 2>&1; then
    if ! ls .wheels/*.whl >/dev/null 2>&1; then
        echo "make gpu: $python lacks packages; fetch them with scripts/gpu_wheels.sh where there is a network, and copy .wheels/ here" >&2
        exit 2
    fi
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$site" .wheels/*.whl
fi
export PYTHONPATH=$PWD:$PWD/envs:$site${PYTHONPATH:+:$PYTHONPATH}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
code=0
"$python" -m experiments.gpu "$@" || code=$?
[ "$code" -eq 3 ] || exit "$code" # 3: there is no GPU, which has been said
