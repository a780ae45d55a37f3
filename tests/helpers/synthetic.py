"""Synthetic run folders: rows of any θ space, with a hard corner that a good curriculum finds. No model is trained."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from waker.storage.tables import write_rows

GRID = {"size": (3.0, 4.0, 5.0), "hazards": (0.0, 0.1, 0.2), "slip": (0.0, 0.25)}
TERRAIN = {"amplitude": tuple(np.linspace(0, 1, 21)), "length": tuple(np.linspace(0.2, 2, 13))}
LINE = {"complexity": (0.0, 1.0, 2.0, 3.0, 4.0)}
TASKS = ("green", "blue", "red")


HELD_OUT = {"source": "random", "held_out": "uniform random actions", "exact_keys": "agent, cells"}
"""What the model's errors were measured on."""


def points(values: dict[str, Sequence[float]]) -> NDArray[np.float64]:
    """All combinations, (M, D)."""
    return np.array(list(itertools.product(*values.values())))


def write_run(
    root: Path,
    sampler: str = "waker-m",
    seed: int = 0,
    values: dict[str, Sequence[float]] | None = None,
    *,
    domain: str = "gridhazards",
    exact: bool = True,
    steps: int = 20_000,
    credit: str = "imagined",
) -> Path:
    """A complete run folder under ``root``; ``exact`` gives it optimal returns and total variation."""
    values = values or GRID
    folder = root / domain / sampler / "plan2explore" / f"seed-{seed}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, len(sampler)])
    thetas = points(values)
    scale = np.maximum(np.ptp(thetas, axis=0), 1e-9)
    hardness = ((thetas - thetas.min(0)) / scale).mean(1)
    gain = 0.35 if sampler != "dr" else 0.0
    identity = {
        "run": f"{sampler}-{seed}",
        "domain": domain,
        "sampler": sampler,
        "explorer": "plan2explore",
        "seed": seed,
    }
    theta = [
        {"theta_id": i, **{f"theta_{n}": float(v) for n, v in zip(values, p, strict=True)}}
        for i, p in enumerate(thetas)
    ]
    weight = np.exp(hardness / 0.3) if gain else np.ones(len(thetas))
    probability = weight / weight.sum()
    _metrics(folder, rng, steps, gain)
    curriculum, errors = [], []
    for step in range(steps // 4, steps + 1, steps // 4):
        at = {**identity, "step": step, "updates": step // 12}
        level = 0.2 + 0.8 * np.exp(-step / 9000)
        true = level * (0.1 + hardness * (0.5 - gain * step / steps)) + 0.01 * rng.random(len(thetas))
        for i, row in enumerate(theta):
            estimate = float(0.3 * true[i] + 0.01 * rng.standard_normal())
            share = {
                "probability": float(probability[i]),
                "estimate": estimate,
                "episodes": step // 50,
                "credits": step,
            }
            curriculum.append({**at, **row, **share})
            metrics = ("one_step_tv", "open_loop_tv_10") if exact else ("observation_nll_1", "observation_nll_10")
            for k, metric in enumerate((*metrics, "latent_kl_1")):
                value = {"metric": metric, "value": float(true[i] * (1 + k)), "episodes": 4}
                errors.append({**at, **row, **HELD_OUT, **value})
    write_rows(folder / "curriculum.parquet", curriculum)
    write_rows(folder / "model_error.parquet", errors)
    at = {**identity, "step": steps, "updates": steps // 12}
    write_rows(folder / "evaluation.parquet", [{**at, **r} for r in _evaluation(theta, hardness, gain, exact, rng)])
    drawn = rng.choice(len(thetas), size=1500, p=probability)
    episodes = [
        {**identity, "step": 13 * n, "slot": n % 8, **theta[i], "episode_seed": n, "length": int(rng.integers(6, 20))}
        for n, i in enumerate(drawn)
    ]
    write_rows(folder / "episodes.parquet", episodes)
    space: dict[str, Any] = {"names": list(values), "hard_ids": np.flatnonzero(hardness > 0.75).tolist()}
    (folder / "theta_space.json").write_text(json.dumps(space))
    record = {
        "config": {
            "env": f"waker/{domain}-v0",
            "seed": seed,
            "curriculum": {"sampler": sampler, "dr_share": 0.2},
            "explorer": {"name": "plan2explore", "heads": 5, "credit": credit},
        },
        "git": "0123456789abcdef",
        "versions": {"waker": "0.1.0", "torch": "2.13.0"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(record))
    np.savez(folder / "filmstrip.npz", **_film(values, thetas, rng))
    return folder


def _metrics(folder: Path, rng: np.random.Generator, steps: int, gain: float) -> None:
    lines = []
    for step in range(1000, steps + 1, 250):
        fall = np.exp(-step / 5000)
        noise = rng.standard_normal(9) * 0.03
        names = (
            "model_loss",
            "model_kl",
            "credit",
            "ensemble_loss",
            "reward_loss/green",
            "continue_loss",
            "agent_loss",
        )
        row = {"step": step, "updates": step // 12, "time/seconds": step / 50}
        row |= {n: float((0.3 + i + gain) * (0.2 + fall) + noise[i]) for i, n in enumerate(names)}
        lines.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def _evaluation(
    theta: list[dict[str, Any]], hardness: NDArray[np.float64], gain: float, exact: bool, rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows = []
    for task, policy, suite in itertools.product(TASKS, ("learned", "random"), ("dr", "fresh", "denser")):
        for i, row in enumerate(theta):
            for episode in range(4 if suite == "dr" else 1):
                best = 8 + 6 * hardness[i]
                share = 0.15 if policy == "random" else 0.95 - (0.7 - gain) * hardness[i] - 0.1 * (suite != "dr")
                earned = best * np.clip(share + 0.1 * rng.standard_normal(), 0, 1)
                optimum = {"completion": np.nan, "optimal_return": best if exact else np.nan}
                about = {"task": task, "policy": policy, "suite": suite, **row, "episode_seed": 100 * i + episode}
                rows.append({**about, "return": earned, "exact_value": np.nan, **optimum, "length": 16})
    return [*rows, *_planned(rows, hardness)] if exact else rows


def _planned(played: list[dict[str, Any]], hardness: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Plans in the episodes of learned policies, of which they give away less."""
    rows = []
    for row in played:
        if row["policy"] == "learned":
            worth = row["optimal_return"] * (1 - 0.1 * hardness[row["theta_id"]])
            rows.append({**row, "policy": "planned", "return": worth, "exact_value": worth})
    return rows


def _film(values: dict[str, Sequence[float]], thetas: NDArray[np.float64], rng: np.random.Generator) -> dict[str, Any]:
    real = rng.integers(200, 256, (2, 12, 40, 40, 3)).astype(np.uint8)
    imagined = real.copy()
    for t in range(12):
        real[:, t, 8:16, 3 * t : 3 * t + 6] = (211, 47, 47)
        imagined[:, t, 8:16, 2 * t : 2 * t + 6] = (211, 47, 47)
    return {
        "real": real,
        "imagined": imagined,
        "context": np.array(4),
        "length": np.array([12, 7]),
        "theta": thetas[[0, -1]],
        "names": np.array(list(values)),
    }
