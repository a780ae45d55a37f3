"""Who acts in held-out episodes: one mixture for all runs, kept apart in the rows and never pooled with another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.families import family_of, family_over
from tests.helpers.known_dynamics import RingModel
from tests.helpers.ring import Ring
from tests.helpers.spaces import joint_space
from waker.analysis.source_means import UNKNOWN, by_source, pooled, shared, sources_of
from waker.collection.episode import Episode
from waker.config.schema import EvalConfig
from waker.errors import UserError
from waker.evaluation import model_error
from waker.evaluation.model_error import held_out_episodes, held_out_trajectories, measure
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.evaluation.trajectories import Trajectory, collect
from waker.protocols import PlayerState
from waker.terminal.signals import Paused

CONFIG = EvalConfig(model_episodes=6, horizon=3, samples=4)
RING = family_of(Ring)
SPEC = RING.spec


class TwoWays:
    """Two policies that mostly go one way, with chance from torch's generator as a learned one's."""

    names = ("left", "right")

    def initial(self, n: int) -> PlayerState:
        return {}

    def act(
        self, observation: Any, is_first: Any, state: PlayerState, member: Any, deterministic: bool
    ) -> tuple[Any, PlayerState]:
        astray = torch.rand(len(member)).numpy() < 0.2
        return np.eye(2, dtype=np.float32)[np.where(astray, 1 - member, member)], state


POLICIES = Source("tasks", TwoWays(), (0, 1), about="two ways")
MIXTURE = (*RANDOM_ONLY, POLICIES)


def played(source: Source, seed: int = 0) -> list[Trajectory]:
    portions = held_out_trajectories(Setup(RING, CONFIG, seed), source)
    return [trajectory for portion in portions for trajectory in portion]


def same(ours: list[Trajectory], theirs: list[Trajectory]) -> bool:
    return len(ours) == len(theirs) and all(
        a.episode.seed == b.episode.seed
        and np.array_equal(a.actions, b.actions)
        and all(np.array_equal(a.observations[k], b.observations[k]) for k in a.observations)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("source", MIXTURE, ids=lambda source: source.name)
def test_trajectories_depend_on_seed_and_source_alone(source: Source) -> None:
    torch.manual_seed(1)
    first = played(source)
    torch.manual_seed(2)
    assert same(first, played(source))
    assert not same(first, played(source, seed=1))


def test_every_model_is_measured_on_the_same_trajectories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that draws more between two portions of them."""
    seen: list[list[Trajectory]] = []

    def keep(*args: Any, **kwargs: Any) -> list[Trajectory]:
        seen[-1].extend(found := collect(*args, **kwargs))
        return found

    monkeypatch.setattr(model_error, "collect", keep)
    monkeypatch.setattr(model_error, "_RECORDS", 96)  # three episodes at a time
    for model, samples in ((RingModel(), 4), (RingModel(believed=(0.5, 0.1)), 32)):
        seen.append([])
        config = EvalConfig(model_episodes=6, horizon=3, samples=samples)
        measure(Setup(RING, config, sources=MIXTURE), model)  # type: ignore[arg-type]
    assert len(seen[0]) == 2 * 6 * 2
    assert same(*seen)


def test_sources_play_other_episodes_each_as_often() -> None:
    plans = [held_out_episodes(Setup(RING, CONFIG), source) for source in MIXTURE]
    assert [len(plan) for plan in plans] == [12, 12]
    assert not {e.seed for e in plans[0]} & {e.seed for e in plans[1]}
    assert [e.theta_id for e in plans[0]] == [e.theta_id for e in plans[1]]


def test_policies_take_a_theta_s_episodes_in_turn() -> None:
    right = [t.actions[1:, 1].mean() > 0.5 for t in played(POLICIES)]
    assert right == [False, True] * 3 + [True, False] * 3
    few = POLICIES.acting(held_out_episodes(Setup(RING, EvalConfig(model_episodes=1))), 1, RING)
    assert few.tolist() == [0, 1]  # with one episode a θ each acts somewhere


def test_a_task_s_policy_acts_where_its_task_exists() -> None:
    space = joint_space()
    source = Source("tasks", TwoWays(), (4, 5, 6, 7), (0, 1, 1, None))
    episodes = [Episode(space.points[i], i, 0, "s") for i in range(space.size) for _ in range(6)]
    acting = source.acting(episodes, 6, family_over(space)).reshape(space.size, 6)
    for group, members in zip(space.groups.tolist(), acting.tolist(), strict=True):  # type: ignore[union-attr]
        assert set(members) == ({4, 7} if group == 0 else {5, 6, 7} if group == 1 else {7})


def test_rows_say_who_acted_and_what_they_are_of() -> None:
    rows = pd.DataFrame(measure(Setup(RING, CONFIG, sources=MIXTURE), RingModel()))  # type: ignore[arg-type]
    one = rows[rows["metric"] == "one_step_tv"]
    assert one.groupby(["source", "theta_id"]).size().to_dict() == {
        (s, t): 6 for s in ("random", "tasks") for t in (0, 1)
    }
    assert one["episode_seed"].nunique() == 24
    assert set(one["held_out"]) == {"uniform random actions, 6 episodes a θ", "two ways, 6 episodes a θ"}
    assert set(one["exact_keys"]) == {"agent"}
    assert sources_of(one) == ["random", "tasks"]
    means = one.groupby(["theta_id", "source"])["value"].mean()
    assert pooled(one).set_index("theta_id")["value"].to_dict() == pytest.approx(
        means.groupby("theta_id").mean().to_dict()
    )
    assert by_source(one).set_index(["theta_id", "source"])["value"].to_dict() == pytest.approx(means.to_dict())


# Rows of several runs -------------------------------------------------------------------------------------------------


def rows_of(
    sampler: str, sources: dict[str, str] | None = None, step: int = 10, keys: str = "agent", level: float = 1.0
) -> pd.DataFrame:
    """Two θ of two episodes for each source; ``sources``: name → what they are of; None = as they once were."""
    run = {"domain": "ring", "sampler": sampler, "explorer": "e", "seed": 0, "step": step, "metric": "one_step_tv"}
    if sources is None:
        return pd.DataFrame([{**run, "theta_id": t, "theta_x": float(t), "value": level} for t in range(2)])
    return pd.DataFrame(
        [
            {**run, "theta_id": t, "theta_x": float(t), "value": level * (1 + s), "source": name, "episode_seed": e}
            | {"held_out": about, "exact_keys": keys}
            for s, (name, about) in enumerate(sources.items())
            for t in range(2)
            for e in range(2)
        ]
    )


ALIKE = {"random": "random, 2", "tasks": "tasks of run a"}


def together(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


def test_runs_measured_alike_are_pooled_in_silence() -> None:
    rows = together(rows_of("dr", ALIKE), rows_of("waker-m", ALIKE))
    kept, notes = shared(rows)
    assert not notes
    assert pooled(kept)["value"].tolist() == [1.5] * 4


@pytest.mark.parametrize(
    "other",
    [{"random": "random, 2"}, {"random": "random, 2", "tasks": "tasks of run b"}],
    ids=["random alone", "another reference"],
)
def test_other_mixtures_are_compared_on_what_they_share(other: dict[str, str]) -> None:
    kept, notes = shared(together(rows_of("dr", ALIKE), rows_of("waker-m", other)))
    assert len(notes) == 1
    assert "\n" not in notes[0]
    for part in ("different held-out trajectories", "compared on what all share", "tasks of run a", "--reference"):
        assert part in notes[0]
    assert set(kept["source"]) == {"random"}
    assert pooled(kept)["value"].tolist() == [1.0] * 4


def test_runs_that_share_nothing_are_not_compared() -> None:
    kept, notes = shared(together(rows_of("dr", {"random": "random, 2"}), rows_of("waker-m", {"random": "random, 8"})))
    assert kept.empty
    assert "left out of the comparison" in notes[0]


def test_errors_that_see_other_keys_are_not_pooled() -> None:
    source = {"random": "random, 2"}
    kept, notes = shared(together(rows_of("dr", source), rows_of("waker-m", source, keys="agent, blocks")))
    assert kept.empty
    assert "agent, blocks" in notes[0]


def test_rows_of_earlier_versions_are_read_and_told_from_new_ones() -> None:
    kept, notes = shared(together(rows_of("dr"), rows_of("waker-m")))
    assert len(kept) == 4
    assert len(notes) == 1
    assert "is not recorded" in notes[0]
    assert pooled(kept)["value"].tolist() == [1.0] * 4
    kept, notes = shared(together(rows_of("dr"), rows_of("waker-m", {"random": "random, 2"})))
    assert kept.empty
    assert UNKNOWN in notes[0]


def test_a_curve_does_not_go_from_one_mixture_to_another() -> None:
    """As where a run was measured on random actions, and once more at its end with a reference."""
    early = rows_of("dr", {"random": "random, 2"}, step=5)
    kept, notes = shared(together(early, rows_of("dr", ALIKE, step=10)))
    assert kept["step"].unique().tolist() == [10]
    assert "earlier steps" in notes[0]
    kept, notes = shared(together(rows_of("dr", ALIKE, step=5), rows_of("dr", ALIKE, step=10)))
    assert sorted(kept["step"].unique()) == [5, 10]
    assert not notes


def test_sources_that_cannot_act_are_refused() -> None:
    with pytest.raises(UserError, match="need evaluation.reference"):
        EvalConfig(sources=("tasks",))
    with pytest.raises(UserError, match="different names"):
        EvalConfig(sources=("random", "random"))
    with pytest.raises(UserError, match="at least one"):
        EvalConfig(sources=())


class Stopped(Piece):
    """Stops at the given tick and keeps the state; without one it goes on to the end."""

    def __init__(self, at: int | None, state: dict[str, Any] | None = None) -> None:
        super().__init__(Pieces(), "errors", state)
        self.at, self.ticks = at, 0

    def tick(
        self, snapshot: Callable[[], dict[str, Any]], progress: Callable[[], str] = str, passes: bool = False
    ) -> None:
        self.ticks += 1
        if self.ticks == self.at:
            self.state = copy.deepcopy(snapshot())
            raise Paused


def measured(piece: Piece) -> list[dict[str, Any]]:
    model: Any = RingModel(believed=(0.3, 0.4))
    return measure(Setup(RING, CONFIG, sources=MIXTURE), model, piece=piece)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_measurement_that_was_stopped_has_the_rows_of_one_that_was_not(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In random actions and in the policies' episodes alike, and with something left of the portion under way."""
    monkeypatch.setattr(model_error, "_RECORDS", 96)  # three episodes at a time
    whole = Stopped(None)
    expected = measured(whole)
    stopped = Stopped(int(share * whole.ticks))
    with pytest.raises(Paused):
        measured(stopped)
    torch.manual_seed(9)
    pd.testing.assert_frame_equal(pd.DataFrame(measured(Stopped(None, stopped.state))), pd.DataFrame(expected))
