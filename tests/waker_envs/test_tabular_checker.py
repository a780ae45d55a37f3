"""Tables that are wrong in one thing each: the checker finds it against play and says how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.helpers.line import CELLS, Line, Pit, line_moves
from waker_envs.api import Transition
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.grids.hazards import GridHazards
from waker_envs.successors import Successors
from waker_envs.tabular import Beginning, TabularMDP, action_values, by_key, optimal_policy, policy_values


class Changed(Line):
    """The true table with one entry replaced."""

    def tabular(self, theta: Any, seed: int) -> Any:
        return self.changed(super().tabular(theta, seed))

    def changed(self, table: TabularMDP) -> Any:
        return table


class NoTable(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return tuple(table)


class OtherShape(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(reward=table.reward[:1])


class MoreThanCertain(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(move=table.move * 1.1)


class StatesAlike(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(states={**table.states, "agent": np.zeros((CELLS, 1), int)})


class StateOutside(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(states={**table.states, "agent": table.states["agent"] + 1})


class KeyMissing(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(states={"agent": table.states["agent"]})


class OtherStart(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(start=(table.start + 1) % CELLS)


class Mirrored(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(move=table.move[::-1])


class OtherSlip(Changed):
    """Right about what can happen, wrong about how often."""

    def changed(self, table: TabularMDP) -> Any:
        slippery = (table.move % 1 > 0).any()
        return table._replace(move=0.8 * line_moves()[0] + 0.2 * np.eye(CELLS)) if slippery else table


class OtherReward(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(reward=2 * table.reward)


class TooShort(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(length=table.length - 1)


class TooLong(Changed):
    def changed(self, table: TabularMDP) -> Any:
        return table._replace(length=table.length + 1)


class OtherOptimum(Line):
    def optimal_return(self, theta: Any, task: str, seed: int) -> float:
        table = self.tabular(theta, seed)
        best = action_values(table.move, table.reward, table.length)[0].max(1)
        return float(best[self.tasks.index(task), table.start]) + 0.1


class NoAnswer(Line):
    def deterministic(self, theta: Any) -> Any:
        return None


class SlipIsCertain(Line):
    """Says that slip is none, with dice rolled at each step."""

    def deterministic(self, theta: Any) -> bool:
        return True


class DiceAtReset(Line):
    """Its dice are rolled when the episode begins: only the table can tell."""

    def begin(self, theta: Any) -> Any:
        first = super().begin(theta)
        self.dice = self.np_random.random(10)
        return first

    def advance(self, action: Any) -> Transition:
        given = self.np_random
        stays = self.dice[self._t] < (0.0, 0.5)[self._level]
        self.np_random = np.random.default_rng(0)
        if stays:
            cell = self._cell
            step = super().advance(action)
            self._cell = cell
            step.observation, step.task_rewards = self._observation(), [float(cell == CELLS - 1), float(cell == 0)]
        else:
            level, self._level = self._level, 0
            step = super().advance(action)
            self._level = level
            step.observation = self._observation()
        self.np_random = given
        return step

    def deterministic(self, theta: Any) -> bool:
        return True


class Begun(Line):
    """Knows where its episodes begin, or is wrong about it."""

    chances: Any = np.full(CELLS, 1 / CELLS)

    def beginnings(self, theta: Any) -> Any:
        return [Beginning(self.tabular(theta, 0), self.chances)]


class TooOften(Begun):
    chances = np.full(CELLS, 0.25)


class NeverAtTheLeft(Begun):
    chances = np.array([0.0, 0.25, 0.25, 0.25, 0.25])


class MostlyAtTheRight(Begun):
    chances = np.array([0.01, 0.01, 0.01, 0.01, 0.96])


class OfOtherStates(Begun):
    chances = np.full(CELLS + 1, 1 / (CELLS + 1))


class NoBeginning(Begun):
    def beginnings(self, theta: Any) -> Any:
        return [self.tabular(theta, 0)]


class OtherTable(Begun):
    def beginnings(self, theta: Any) -> Any:
        table = self.tabular(theta, 0)
        return [Beginning(table._replace(length=table.length + 1), self.chances)]


BROKEN: list[tuple[type[Line], str]] = [
    (TooOften, "sum to 1.25 instead of 1"),
    (NeverAtTheLeft, "to which beginnings.* give probability 0"),
    (OtherTable, "to which beginnings.* give probability 0"),
    (MostlyAtTheRight, "its chances must be those of episodes"),
    (OfOtherStates, "must be a probability for each of its states"),
    (NoBeginning, "TabularMDP instead of a Beginning"),
    (NoTable, "tuple instead of a TabularMDP"),
    (OtherShape, r"reward has shape \(1, 2, 5\), where .* K = 2"),
    (MoreThanCertain, "probabilities that sum to 1 at most"),
    (StatesAlike, "look alike"),
    (StateOutside, "classes that the observation does not have"),
    (KeyMissing, r"keys \['agent'\] where the observation has \['agent', 'floor'\]"),
    (OtherStart, "another state than its start"),
    (Mirrored, "probability 0; it must know all that can happen"),
    (OtherSlip, "times too often"),
    (OtherReward, "which is certain, earns"),
    (TooShort, "goes on after its length of 5"),
    (TooLong, "time limit came after 6 steps, where it says 7"),
    (OtherOptimum, "one of them is wrong"),
    (NoAnswer, "returns None; return True or False"),
    (SlipIsCertain, "differ when np_random does; return False"),
    (DiceAtReset, "moves that are not certain; return False"),
]


@pytest.mark.parametrize(("family", "wrong"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_with_a_table_is_found(family: type[Line], wrong: str) -> None:
    with pytest.raises(EnvCheckError, match=wrong) as caught:
        check_parametric_env(family)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", [Line, Begun, lambda **kw: GridHazards(sizes=(3, 4), slips=(0.0, 0.3), **kw)])
def test_right_tables_pass(family: Callable[..., Any]) -> None:
    check_parametric_env(family)


def test_grid_hazards_say_which_rooms_are_certain() -> None:
    env = GridHazards()
    assert env.deterministic([5, 0.2, 0])
    assert not env.deterministic([5, 0.2, 0.1])
    with pytest.raises(NotImplementedError):
        GridHazards(obs="pixels").tabular([3, 0, 0], 0)


def test_a_table_holds_all_cells_but_walls() -> None:
    env = GridHazards(n_layouts=3)
    for seed in range(6):
        table = env.tabular([4, 0.2, 0.1], seed)
        first, _ = env.reset(seed=seed, options={"theta": [4, 0.2, 0.1]})
        states = by_key(table.states)
        assert (states["agent"][table.start] == first["agent"]).all()
        assert (states["cells"] == first["cells"]).all()
        names = np.array(env.cell_names)[first["cells"]]
        assert len(states["agent"]) == (names != "wall").sum() == 16
        hazard = names[states["agent"] @ [env.frame, 1]] == "hazard"
        assert hazard.sum() == 3
        move = np.asarray(table.move)
        assert not move[:, hazard].any() and not move[:, :, hazard].any() and not table.reward[:, :, hazard].any()
        assert move.sum(2).max() <= 1 + 1e-12
        assert move[:, ~hazard].sum(2).min() < 1 - 1e-3  # a hazard is somewhere near


class PitUnseen(Pit):
    """Its table leaves out what is seen when an episode has ended."""

    def tabular(self, theta: Any, seed: int) -> TabularMDP:
        table = super().tabular(theta, seed)
        states = {key: array[1:] for key, array in table.states.items()}
        move, reward = np.asarray(table.move)[:, 1:, 1:], table.reward[:, :, 1:]
        return TabularMDP(states, move, reward, table.start - 1, table.length)


def test_a_table_holds_what_is_seen_when_an_episode_has_ended() -> None:
    check_parametric_env(Pit)
    with pytest.raises(EnvCheckError, match=r"ended after step \d+ with an observation that is none of its states"):
        check_parametric_env(PitUnseen)


class Named(Line):
    """The true table by successors, all cells named for each"""

    def tabular(self, theta: Any, seed: int) -> Any:
        table = super().tabular(theta, seed)
        after = np.broadcast_to(np.arange(CELLS), table.move.shape)
        return self.named(table._replace(move=Successors(after, np.asarray(table.move))))

    def named(self, table: TabularMDP) -> Any:
        return table


class NoSuchState(Named):
    def named(self, table: TabularMDP) -> Any:
        assert isinstance(table.move, Successors)
        return table._replace(move=table.move._replace(after=table.move.after + 1))


class SuccessorsMirrored(Named):
    def named(self, table: TabularMDP) -> Any:
        assert isinstance(table.move, Successors)
        return table._replace(move=table.move._replace(chance=table.move.chance[::-1]))


def test_tables_by_successors_are_checked_as_others_are() -> None:
    check_parametric_env(Named)
    for family, wrong in ((NoSuchState, "must be numbers of states"), (SuccessorsMirrored, "probability 0")):
        with pytest.raises(EnvCheckError, match=wrong):
            check_parametric_env(family)


def test_values_are_the_same_by_successors() -> None:
    dense, named = Line().tabular([0.5], 0), Named().tabular([0.5], 0)
    np.testing.assert_allclose(
        action_values(named.move, named.reward, 6), action_values(dense.move, dense.reward, 6), atol=1e-12
    )
    policy, best = optimal_policy(dense.move, dense.reward, 6)
    q = action_values(dense.move, dense.reward, 6)
    np.testing.assert_array_equal(policy, q.argmax(2))
    np.testing.assert_allclose(best, q[0].max(1))
    np.testing.assert_allclose(policy_values(named.move, named.reward, policy), best, atol=1e-12)
