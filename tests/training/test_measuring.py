"""Curricula that are told the truth about the model: when it is measured, and that nothing else changes by it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers import dummies
from tests.training.test_resume import assert_same, die, interrupted, terminate
from waker.collection.family import Family
from waker.config.presets import PRESETS
from waker.config.schema import Config
from waker.curriculum import CurriculumConfig, Wanted, make_curriculum
from waker.curriculum import registry as curricula
from waker.curriculum.api import Curriculum
from waker.errors import UserError
from waker.evaluation.records import Measurement
from waker.protocols import Learner
from waker.storage.checkpoint import Checkpoints
from waker.training.build import parts_of, train_run
from waker.training.work_due import Ratio


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def config(every: int = 60, **curriculum: Any) -> Config:
    """A dummy run of 400 steps, three a tick, whose first update is at step 102."""
    made = dummies.config("error-oracle")
    return replace(made, curriculum=replace(made.curriculum, oracle_interval=every, **curriculum))


def state_of(path: Path) -> dict[str, Any]:
    checkpoints = Checkpoints(path / "checkpoints")
    return checkpoints.load(checkpoints.paths()[0])


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        # Not at step 102, where there was an update for the first time.
        (60, [120, 180, 240, 300, 360]),
        # Not at step 402, the last: nothing more is sampled.
        (100, [201, 300]),
    ],
)
def test_it_is_measured_at_multiples_after_the_first_update(tmp_path: Path, every: int, steps: list[int]) -> None:
    asked: list[int] = []

    def measure(agent: Learner, wanted: Wanted, step: int) -> NDArray[np.float64]:
        assert wanted == Wanted(("one_step_tv", "observation_nll_1"), every, 4)
        assert isinstance(agent, dummies.DummyAgent)
        (state, *_) = agent.optimizer.state.values()
        assert state["step"] == Ratio(10, 100).allowed(step)  # all updates that the data allows
        asked.append(step)
        return dummies.measure(agent, wanted, step)

    path, _ = dummies.run(tmp_path, config(every), measure=measure)
    assert asked == steps
    assert state_of(path)["curriculum"]["score.newest"].shape == (5,)


def test_a_run_that_is_stopped_or_killed_measures_what_the_whole_one_does(tmp_path: Path) -> None:
    whole, _ = dummies.run(tmp_path / "whole", config())
    stopped, lives = interrupted(tmp_path / "stopped", config(), [45, 90, 140], terminate)
    assert lives == 4
    assert_same(whole, stopped)
    killed, lives = interrupted(tmp_path / "killed", config(), [60, 130], die)
    assert lives == 3
    assert_same(whole, killed)


def test_a_signal_during_a_measurement_puts_it_off(tmp_path: Path) -> None:
    from waker.terminal.signals import Interrupted, Paused

    def stopped(agent: Learner, wanted: Wanted, step: int) -> NDArray[np.float64]:
        torch.rand(3)
        terminate()
        raise Paused

    whole, _ = dummies.run(tmp_path / "whole", config())
    with pytest.raises(Interrupted):
        dummies.run(tmp_path / "cut", config(), measure=stopped)
    assert_same(whole, dummies.run(tmp_path / "cut", config())[0])


def same_but_for_the_curriculum(a: Path, b: Path) -> None:
    """All that two runs have learned and met, with every stream of chance where it was."""
    one, two = state_of(a), state_of(b)
    for key in ("updates", "agent", "collector", "streams", "torch"):
        assert repr(flat(one[key])) == repr(flat(two[key])), key
    rows = [
        [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in text.splitlines()]
        for text in ((path / "metrics.jsonl").read_text() for path in (a, b))
    ]
    assert rows[0] == rows[1]


def flat(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {k: flat(v) for k, v in tree.items()}
    return tree.tolist() if isinstance(tree, torch.Tensor | np.ndarray) else tree


def test_measuring_moves_no_other_chance(tmp_path: Path) -> None:
    blind, _ = dummies.run(tmp_path / "blind", config(dr_share=1.0))
    dr, _ = dummies.run(tmp_path / "dr", dummies.config("dr"))
    same_but_for_the_curriculum(blind, dr)


def test_measuring_a_real_model_moves_no_other_chance(tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]()
    oracle = CurriculumConfig(sampler="error-oracle", memory_updates=10.0, oracle_interval=40, dr_share=1.0)
    _, blind = train_run(replace(tiny, curriculum=oracle), tmp_path, dummies.Quiet())
    _, dr = train_run(replace(tiny, curriculum=replace(oracle, sampler="dr")), tmp_path, dummies.Quiet())
    same_but_for_the_curriculum(blind, dr)
    newest = state_of(blind)["curriculum"]["score.newest"]
    assert ((newest > 0) & (newest <= 1)).all()  # total variation, of all 18 θ


@pytest.mark.parametrize("sampler", ["error-oracle", "regret-oracle"])
def test_a_run_of_a_real_model_goes_on_bit_for_bit(tmp_path: Path, sampler: str) -> None:
    tiny = PRESETS["tiny"]()
    oracle = CurriculumConfig(sampler=sampler, memory_updates=10.0, oracle_interval=40)
    config = replace(tiny, curriculum=oracle)
    family = Family.of(config)
    made = parts_of(config, family, lambda agent: Measurement())
    changes = {f: getattr(made, f) for f in made.__dataclass_fields__}
    whole, _ = dummies.run(tmp_path / "whole", config, **changes)
    path, lives = interrupted(tmp_path / "cut", config, [40, 62], terminate, **changes)
    assert lives == 3
    assert_same(whole, path)


def test_what_it_costs_is_told_apart_from_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = 0.0

    def slow(agent: Learner, wanted: Wanted, step: int) -> NDArray[np.float64]:
        nonlocal spent
        spent += 10.0
        return dummies.measure(agent, wanted, step)

    for module in ("measuring", "row_writer"):  # a clock that runs while it is measured, and at no other time
        monkeypatch.setattr(f"waker.training.{module}.processor_seconds", lambda: spent)
    progress = dummies.Quiet()
    path, _ = dummies.run(tmp_path, config(), progress, measure=slow)
    told = [note for note in progress.notes if "control" in note]
    assert len(told) == 1
    assert "one_step_tv or observation_nll_1" in told[0]
    assert told[0].endswith("4 held-out episodes a θ every 60 steps, 10.0 CPU s so far")
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert {row["time/cpu_seconds"] for row in rows} == {0.0}
    costs = [row["time/measuring_cpu_seconds"] for row in rows]
    assert costs == sorted(costs)
    assert (costs[0], costs[-1], state_of(path)["measuring_seconds"]) == (0.0, 50.0, 50.0)
    plain, _ = dummies.run(tmp_path, dummies.config("dr"))
    assert "measuring" not in (plain / "metrics.jsonl").read_text()


def test_who_cannot_measure_says_so_before_anything_is_trained(tmp_path: Path) -> None:
    wanted = replace(PRESETS["tiny"](), curriculum=CurriculumConfig(sampler="error-oracle", oracle_error="bleu"))
    with pytest.raises(UserError, match="asks for 'bleu', which cannot be measured in waker/GridHazards-v0"):
        train_run(wanted, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="nobody to make them"):
        dummies.run(tmp_path, config(), measure=None)


class Worst:
    """A third party's sampler: always the θ that the last measurement found worst, and DR before there is one."""

    wanted = Wanted(("latent_kl_1",), every=40, episodes=2)

    def __init__(self, space: Any, rng: np.random.Generator) -> None:
        self.inner: Any = make_curriculum("dr", space, CurriculumConfig(), rng)
        self.worst = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def sample(self, n: int) -> NDArray[np.float64]:
        thetas = self.inner.sample(n).points
        return thetas if self.worst < 0 else np.repeat(self.inner.space.points[self.worst][None], n, 0)

    def measured(self, values: NDArray[np.float64], step: int) -> None:
        self.worst = int(np.nanargmax(values))


def test_somebody_else_s_sampler_is_told_the_truth_it_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Worst] = []

    def factory(space: Any, config: CurriculumConfig, rng: np.random.Generator, samples: int) -> Curriculum:
        made.append(Worst(space, rng))
        return made[-1]

    monkeypatch.setitem(curricula.CURRICULA.registered, "worst", factory)
    tiny = replace(PRESETS["tiny"](), curriculum=CurriculumConfig(sampler="worst"))
    train_run(tiny, tmp_path, dummies.Quiet())
    assert 0 <= made[-1].worst < 18
