"""The documentation's picture of the MuJoCo domains across θ: a row a domain, from easy to hard, then the suites.

    python -m experiments.domains

Writes ``results/domains/picture.png``. Half a minute on one core; needs EGL or OSMesa.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import waker_envs
from waker_envs.api import ThetaSpace

RESULTS = Path(__file__).parents[1] / "results" / "domains"
SEED = 3
SETTLE = 20
"""Steps without action before the picture of a robot that starts in the air."""
TERRAIN = [(0.0, 1.0), (0.4, 1.0), (0.7, 0.6), (1.0, 0.4), (1.0, 0.2)]
ARENAS = [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 2, 2)]
ROWS: dict[str, tuple[list[tuple[float, ...]], tuple[str, ...]]] = {
    "TerrainWalker": (TERRAIN, ("steep", "stairs")),
    "TerrainHopper": (TERRAIN, ("steep", "stairs", "max")),
    "CleanUp": ([tuple(map(float, t)) for t in ARENAS], ("5-blocks",)),
    "CarCleanUp": ([tuple(map(float, t)) for t in ARENAS], ("5-blocks",)),
    "Combined": ([(0, 0.4, 1, 0, 0, 0), (0, 1, 0.2, 0, 0, 0), (1, 0, 0, 2, 1, 1), (1, 0, 0, 4, 2, 2)], ()),
}
"""Domain → θ from easy to hard, and suites."""
MOST_COLOURS = 256


def shot(domain: str, theta: NDArray[np.float64], **kwargs: object) -> NDArray[np.uint8]:
    """The picture for people of one episode of θ."""
    env = waker_envs.make(domain, render_mode="rgb_array", obs="proprio", **kwargs)
    try:
        env.reset(seed=SEED, options={"theta": theta})
        falls = domain.startswith("Terrain") or (domain == "Combined" and theta[0] == 0)
        for _ in range(SETTLE if falls else 0):
            env.step(np.zeros(env.action_space.shape or ()))
        return np.asarray(env.render(), np.uint8)
    finally:
        env.close()


def titled(space: ThetaSpace, theta: Sequence[float]) -> str:
    """θ in words, without what the domain of a joint space does not have."""
    if space.groups is None:
        return space.format(theta)
    shown = [f"{n}={v:g}" for n, v in zip(space.names, theta, strict=True) if v or n == "domain"]
    return ", ".join(shown)


def cells(domain: str) -> list[tuple[str, NDArray[np.uint8]]]:
    """Title and picture of each column of a domain's row."""
    thetas, suites = ROWS[domain]
    space = waker_envs.make(domain, obs="proprio").theta_space
    found = [(titled(space, theta), shot(domain, np.array(theta))) for theta in thetas]
    for name in suites:
        suite = space.suites[name]
        theta = suite.thetas[len(suite.thetas) // 2]
        told = "" if suite.env_kwargs else f"\n{space.format(theta)}"
        found.append((f"suite {name}{told}", shot(domain, theta, **suite.env_kwargs)))
    return found


def main() -> None:
    """Rebuild ``results/domains/picture.png``."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = {domain: cells(domain) for domain in ROWS}
    columns = max(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), columns, figsize=(1.9 * columns, 2.15 * len(rows)), layout="constrained")
    for across, (domain, row) in zip(axes, rows.items(), strict=True):
        for ax in across:
            ax.set_axis_off()
        for ax, (title, picture) in zip(across, row, strict=False):
            ax.imshow(picture)
            ax.set_title(title.replace("length_scale", "length").replace(", ", "\n", 1), fontsize=7.5)
        across[0].text(-0.06, 0.5, domain, rotation=90, va="center", ha="right", transform=across[0].transAxes)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "picture.png"
    figure.savefig(path, dpi=100)
    # A palette of 256 colours is a quarter of the size and looks the same.
    Image.open(path).convert("RGB").quantize(MOST_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
