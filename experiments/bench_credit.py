"""Time of crediting one batch: ``python -m experiments.bench_credit``. A benchmark, not a test.

800 samples are one update at the paper's size (16 × 50); 777 θ are TerrainWalker's.
"""

from __future__ import annotations

import timeit

import numpy as np

from tests.helpers.spaces import finite_space
from waker.curriculum import CurriculumConfig, Magnitude, make_curriculum


def main() -> None:
    """Print the best mean of 7 × 200 calls, in milliseconds."""
    rng = np.random.default_rng(0)
    for n_theta, samples in [(18, 800), (777, 800), (777, 16_000)]:
        ids, x = rng.integers(n_theta, size=samples), rng.exponential(size=samples)
        score = Magnitude(n_theta)
        best = min(timeit.repeat(lambda s=score, i=ids, v=x: s.observe(i, v, 0), number=200, repeat=7)) / 200
        print(f"Magnitude.observe   {n_theta:4d} θ {samples:6d} samples: {1e3 * best:.3f} ms")
    curriculum = make_curriculum("waker-r", finite_space(), CurriculumConfig(), rng)
    batch = rng.integers(-1, 6, size=(16, 50)), rng.exponential(size=(16, 50)).astype(np.float32)
    best = min(timeit.repeat(lambda: curriculum.observe(*batch, 0), number=200, repeat=7)) / 200
    print(f"Curriculum.observe     6 θ    800 samples: {1e3 * best:.3f} ms")
    best = min(timeit.repeat(lambda: curriculum.sample(8), number=200, repeat=7)) / 200
    print(f"Curriculum.sample(8)   6 θ               : {1e3 * best:.3f} ms")


if __name__ == "__main__":
    main()
