"""The study of preferences: its exact curves and values by enumeration and by hand, cells made once, intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from experiments import preferences
from experiments.exact_model import Rooms, rooms_of, values
from experiments.preference_arms import ARMS
from experiments.preference_bench import Cell
from experiments.preference_curves import (
    best_of_n_form,
    best_of_n_kl,
    best_of_n_peak,
    learned_form,
    learned_peak,
    soft_optimum,
)
from experiments.preference_features import NAMES, under_the_agent
from experiments.preference_lab import earned, worth
from tests.helpers.asked import family
from waker.errors import UserError
from waker.preferences.linear import fit_linear
from waker.preferences.teachers import preferred
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, TILES, WALL


def rooms() -> Rooms:
    return rooms_of(cast(GridHazards, family().make().unwrapped))


def one_room(length: int) -> Rooms:
    """The first room, which has nine cells and no slip, with episodes of so many steps from its first start."""
    every = rooms()
    found = Rooms(*(np.asarray(part)[:1] for part in every))
    starts = np.zeros_like(found.starts)
    starts[0, np.flatnonzero(found.starts[0])[0]] = True
    return found._replace(length=np.array([length]), starts=starts)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_the_soft_optimum_is_that_of_all_trajectories(temperature: float) -> None:
    """Where nothing is random it is p(trajectory) ∝ p_ref exp(Σ r̂ / τ), which three steps can be enumerated for."""
    room, steps = one_room(3), 3
    assert (room.move.max(-1) == 1.0).all()
    rng = np.random.default_rng(0)
    proxy, true = rng.normal(size=(2, *room.kinds.shape))
    reference = rng.dirichlet(np.ones(5), size=room.kinds.shape).transpose(0, 2, 1)
    start, weights, sums = int(room.starts[0].argmax()), [], []
    for actions in itertools.product(range(5), repeat=steps):
        cell, chance, totals = start, 1.0, np.zeros(2)
        for action in actions:
            chance *= reference[0, action, cell]
            if room.kinds[0, cell] != HAZARD or cell == start:
                cell = int(room.move[0, action, cell].argmax())
                totals += (proxy[0, cell], true[0, cell])
            assert room.kinds[0, cell] != HAZARD  # no hazard lies in this room: no trajectory ends early
        weights.append(chance)
        sums.append(totals)
    before, totals = np.array(weights), np.array(sums)
    after = before * np.exp(totals[:, 0] / temperature)
    after /= after.sum()
    found = soft_optimum(room, proxy, true, temperature, reference)
    assert found.kl[0] == pytest.approx((after * np.log(after / before)).sum())
    assert found.proxy[0] == pytest.approx(after @ totals[:, 0])
    assert found.gold[0] == pytest.approx(after @ totals[:, 1])


def test_a_cold_soft_optimum_is_the_optimum_and_a_hot_one_its_reference() -> None:
    every = rooms()
    true = (every.kinds == TILES[0]).astype(float)
    uniform = np.full((len(every.kinds), 5, every.kinds.shape[1]), 0.2)
    cold, hot = (soft_optimum(every, true, true, t, uniform) for t in (1e-3, 1e6))
    np.testing.assert_allclose(cold.gold, worth(every, true, true), rtol=1e-3)
    np.testing.assert_allclose(hot.gold, earned(every, uniform, true), rtol=1e-4)
    assert hot.kl.max() < 1e-6 < cold.kl.min()


def test_the_best_plan_for_the_true_rewards_is_the_optimum() -> None:
    every = rooms()
    for task, tile in enumerate(TILES):
        true = (every.kinds == tile).astype(float)
        np.testing.assert_allclose(worth(every, true, true), values(every, None)[task])


def test_a_policy_that_is_greedy_is_valued_as_the_model_values_it() -> None:
    every = rooms()
    greedy = np.random.default_rng(0).integers(5, size=(1, *every.kinds.shape))
    table = np.eye(5)[greedy[0]].transpose(0, 2, 1)
    true = (every.kinds == TILES[0]).astype(float)
    expected = values(every, np.repeat(greedy, len(TILES), 0))[0]
    np.testing.assert_allclose(earned(every, table, true), expected)


def test_forms_of_over_optimisation_by_hand() -> None:
    """The trap: the two forms swapped, as one repository has them."""
    assert best_of_n_kl(16) == pytest.approx(1.835, abs=5e-4)
    for form, peak in ((best_of_n_form, best_of_n_peak), (learned_form, learned_peak)):
        at, height = peak(0.5, 0.2)
        assert form(at, 0.5, 0.2) == pytest.approx(height)
        assert form(0.9 * at, 0.5, 0.2) < height > form(1.1 * at, 0.5, 0.2)
    assert best_of_n_peak(0.5, 0.2) == pytest.approx((1.25, 0.3125))
    assert learned_peak(0.5, 0.2) == pytest.approx((4.4817, 0.8963), abs=5e-5)


def test_a_cell_is_made_once_and_a_stopped_arm_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()

    def make(n: int) -> Iterator[dict[str, Any]]:
        if n == 3 and 3 not in made:
            made.append(n)
            yield {"planned": 0.0}
            raise KeyboardInterrupt
        made.append(n)
        yield {"round": 0, "planned": 0.1 * n}
        yield {"round": 1, "planned": 0.2 * n}

    def arm(bench: Any) -> Iterator[Cell]:
        for n in (1, 2, 3):
            yield Cell("oracle", n, lambda n=n: make(n))  # type: ignore[misc]

    monkeypatch.setitem(ARMS, "planned", arm)
    bench = cast(Any, SimpleNamespace(seed=40))
    with pytest.raises(KeyboardInterrupt):
        preferences.carry_out(bench, ["planned"], tmp_path)
    assert made == [1, 2, 3] and len(pd.read_csv(tmp_path / "planned.csv")) == 4
    preferences.carry_out(bench, ["planned"], tmp_path)
    assert made == [1, 2, 3, 3]
    for seed in (41, 42):
        preferences.carry_out(cast(Any, SimpleNamespace(seed=seed)), ["planned"], tmp_path)
    rows = pd.read_csv(tmp_path / "planned.csv")
    assert len(rows) == 18 and set(rows["seed"]) == {40, 41, 42}
    rows.loc[(rows["queries"] == 2) & (rows["round"] == 1), "planned"] = [0.3, 0.4, 0.5]
    rows.to_csv(tmp_path / "planned.csv", index=False)
    found = preferences.summary(tmp_path)
    row = found[(found["queries"] == 2) & (found["round"] == 1)].iloc[0]
    assert (row["seeds"], row["mean"]) == (3, pytest.approx(0.4))
    assert row["high"] - row["mean"] == pytest.approx(4.3027 * 0.1 / np.sqrt(3), abs=1e-4)


def test_what_cannot_be_learned_from_is_told_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Iterator[dict[str, Any]]:
        raise UserError("all 9 answers are ties")
        yield {}

    monkeypatch.setitem(ARMS, "cpl", lambda bench: iter([Cell("return", 9, make)]))
    preferences.carry_out(cast(Any, SimpleNamespace(seed=1)), ["cpl"], tmp_path)
    assert pd.read_csv(tmp_path / "cpl.csv")["refused"].tolist() == ["all 9 answers are ties"]


def test_arms_run(finished: Path, tmp_path: Path) -> None:
    from tests.helpers.tiny import RUN

    small = ["--small", "--work", str(tmp_path), "--arms", "features", "cpl", "self", "curve"]
    preferences.main([str(finished / RUN), *small])
    for arm in ("features", "cpl", "self", "curve"):
        rows = pd.read_csv(tmp_path / "small" / f"{arm}.csv")
        shares = rows[[c for c in ("planned", "sampled", "greedy") if c in rows]].stack().dropna()
        assert len(shares) and shares.between(0, 1 + 1e-9).all()
    assert set(pd.read_csv(tmp_path / "small" / "self.csv")["round"]) == {0, 1, 2}
    by_features = pd.read_csv(tmp_path / "small" / "features.csv")
    assert by_features[by_features["part"] == "policy"]["sampled"].notna().sum() == 2
    assert not (finished / RUN / "adapted").exists()


def test_named_features_are_the_classes_of_the_cell_under_the_agent() -> None:
    env = GridHazards()
    size, _, slip = env.theta_space.points.max(0)
    densest = env.theta_space.points[:, 1].max()
    observation, _ = env.reset(seed=0, options={"theta": (size - 1, densest, slip)})  # with walls beside it
    assert len(NAMES) == env.n_classes
    for name, kind in (("wall", WALL), ("hazard", HAZARD), *zip(("green", "blue", "red"), TILES, strict=True)):
        cells = np.flatnonzero(env._layout.kinds.ravel() == kind)
        assert len(cells)
        at = np.stack(np.divmod(cells, env.frame), 1)[None]  # one segment that stands on each of them
        found = under_the_agent({"cells": np.tile(observation["cells"], (1, len(cells), 1)), "agent": at})
        assert set(found) == set(NAMES)
        assert all(bool(stands.all()) == (key == name) == bool(stands.any()) for key, stands in found.items())


def walks(every: Rooms, n: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the classes under the agent over random walks (n, classes), and their steps (n,): hazards end them."""
    room, alive = rng.integers(len(every.kinds), size=n), np.ones(n, bool)
    cell = np.array([rng.choice(np.flatnonzero(starts)) for starts in every.starts[room]])
    sums = np.zeros((n, int(every.kinds.max()) + 1))
    for _ in range(length):
        chance = every.move[room, rng.integers(5, size=n), cell].cumsum(-1)
        cell = np.where(alive, (chance > rng.random(n)[:, None]).argmax(-1), cell)
        sums[np.arange(n), every.kinds[room, cell]] += alive
        alive &= every.kinds[room, cell] != HAZARD
    return sums, sums.sum(1)


def test_ended_segments_pin_the_constant_that_costs_two_thirds_of_the_optimum() -> None:
    """Of segments of one length every answer is as likely with −2 on each step; where ended ones are kept it is not."""
    every = rooms_of(GridHazards())
    true = (every.kinds == TILES[0]).astype(float)
    best = worth(every, true, true)

    def share(rewards: np.ndarray) -> float:
        return float(np.mean(worth(every, rewards, true) / best))

    assert share(true) == 1.0
    assert share(true - 2.0) == pytest.approx(0.34, abs=0.02)
    sums, steps = walks(every, 4_000, 8, np.random.default_rng(0))
    first, second, same = sums[:2_000], sums[2_000:], steps[:2_000] == steps[2_000:]
    label = preferred((first - second)[:, TILES[0]], np.inf)
    weights = fit_linear(first, second, label)
    assert share(weights[every.kinds]) > 0.99  # loss ≤ 0.01
    shifted = weights - 2.0 * weights[TILES[0]]  # −2 in units of what the tile pays
    assert share(shifted[every.kinds]) == pytest.approx(0.34, abs=0.03)
    likely = [preferred((first - second) @ w) for w in (weights, shifted)]
    np.testing.assert_allclose(likely[0][same], likely[1][same], atol=1e-9)
    assert np.abs(likely[0] - likely[1])[~same].max() > 0.5
