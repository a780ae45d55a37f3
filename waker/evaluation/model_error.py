"""The world model's true error for each θ, on held-out trajectories.

Called by ``waker evaluate`` and by the loop's evaluation block. The curriculum sees only an *estimate* of this error
(ensemble disagreement in imagination); these rows say what it should have seen. Trajectories are of a fixed mixture of
policies (:mod:`waker.evaluation.sources`); a row is one episode's, its value the mean over start states in it.

Metrics, k = ``config.horizon``:

- ``tv_<key>_1``, ``tv_<key>_<k>``: how far the model's predictive distribution of one key of the observation lies from
  the exact one, in [0, 1] (:mod:`waker.evaluation.factors`), for families that offer ``predict``. The model's is the
  mean over latent samples; the distance that their finite number alone makes is taken off.
- ``one_step_tv``, ``open_loop_tv_<k>``: the largest of these in each start state: how wrong the model is about what it
  is most wrong about. It stands for the total variation of the whole observation, by which regret is bounded and which
  is no smaller (but for models that make up things by chance); a mean over keys would make every error smaller that is
  beside keys which never change. Only where ``predict`` covers every key. Where two keys are alike wrong, chance makes
  it a little too large.
- ``latent_kl_1``, ``latent_kl_<k>``: KL(posterior ‖ prior) in nats, in the model's own latent: its surprise. At k
  steps the prior of each latent is its mean over open-loop samples, so that spread counts as uncertainty. It depends
  on the latent's own capacity: compare it between θ, not between models.
- ``observation_nll_1``, ``observation_nll_<k>``: −ln mean over samples of the likelihood of what was seen, all keys.
- ``observation_mse_1``, ``observation_mse_<k>``: mean squared error of the mean decoded observation over the entries of
  image (in [0, 1]) and vector keys; categorical keys are not in it.

Total variation isolates what the model got wrong; the other three include what cannot be known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.behaviour.player import chance_of, set_chance
from waker.collection.episode import Episode
from waker.collection.slot_group import slot_group
from waker.evaluation.exact import Exact
from waker.evaluation.factors import misplaced, total_variation, without_sampling_error
from waker.evaluation.open_loop import Model, Prediction, predict
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import MOST_THETA, dr_thetas, episode_seeds, evenly_spaced_ids
from waker.evaluation.setup import Setup
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.evaluation.trajectories import Trajectory, as_batch, collect
from waker.model.distributions import categorical_kl
from waker.model.rssm import Posterior
from waker.protocols import Player
from waker.seeding import load_torch_state, stream, torch_seed, torch_state
from waker.specs import EnvSpec
from waker.storage.tables import Row
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.predictions import is_joint, not_covered

SUITE = "model error"
CONTINUOUS_THETA = 64
"""θ drawn from a continuous space."""
LONGEST = 256
"""Steps of a held-out trajectory at most."""
_RECORDS = 2048
"""Records filtered at once; bounds memory for long episodes of pictures."""
_STARTS = {"one": (64, 4, 16), "open": (16, 2, 4)}
"""Start states: about how many for each θ, and how few and how many of one trajectory. One-step predictions are cheap,
k-step ones cost k times more; episodes differ more than the states of one, so many episodes need few of each."""


def measured_ids(space: ThetaSpace) -> NDArray[np.int64]:
    """Ids of the θ that are measured: at most :data:`MOST_THETA` of a finite space, none of a continuous one."""
    return evenly_spaced_ids(space, MOST_THETA) if isinstance(space, FiniteThetaSpace) else np.zeros(0, np.int64)


def held_out_episodes(
    setup: Setup, source: Source = RANDOM_ONLY[0], ids: NDArray[np.int64] | None = None
) -> list[Episode]:
    """``model_episodes`` episodes of every θ (at most :data:`MOST_THETA`, as many of each domain), seeds their own.

    ``ids`` names other θ of a finite space instead.
    """
    family, config, seed = setup.family, setup.config, setup.seed
    space, rng = family.space, stream(seed, source.purpose(SUITE))
    if isinstance(space, FiniteThetaSpace):
        thetas = space.points[measured_ids(space) if ids is None else ids]
    else:
        thetas = dr_thetas(space, CONTINUOUS_THETA, stream(seed, SUITE))  # the same for all sources
    repeated = np.repeat(thetas, config.model_episodes, axis=0)
    seeds = episode_seeds(rng, len(repeated))
    return [family.episode(theta, s, SUITE) for theta, s in zip(repeated, seeds, strict=True)]


def measure(
    setup: Setup,
    model: Model,
    *,
    piece: Piece | None = None,
    ids: NDArray[np.int64] | None = None,
    steps: Collection[int] | None = None,
) -> list[Row]:
    """Errors of the model for each θ.

    Args:
        setup: each of its sources acts in ``model_episodes`` episodes of every θ.
        model: the world model, on the setup's device.
        piece: what to continue from, and where to keep it when a signal comes; None = from the beginning.
        ids: of the θ to measure, of a finite space; None = those of :func:`measured_ids`.
        steps: how many steps ahead to predict; None = 1 and ``horizon``.

    Returns:
        A row for each (episode, metric): theta_id, theta_<name>…, source, episode_seed, metric, value (mean over start
        states), starts (their number), episodes (of this θ and source), held_out (what the trajectories are of) and
        exact_keys (whose exact distribution total variation was measured from). Episodes shorter than k steps have no
        k-step rows. :func:`waker.analysis.source_means.pooled` makes one number a θ of them.

    Raises:
        UserError: an environment that fails.
        Paused: a signal has come.
    """
    rows: list[Row] = []
    horizon = setup.config.horizon
    ahead = {1: "one", horizon: "open"} if steps is None else {k: "one" if k == 1 else "open" for k in steps}
    piece = piece or Pieces().piece("held-out trajectories")
    state, kept = piece.state, dict[str, Any]()
    with torch_seed(setup.seed), Exact(setup.family) as exact:
        errors = _Errors(setup, model, exact, ahead)
        if state is not None:
            rows = [dict(row) for row in state["rows"]]
            load_torch_state(state["chance"])
            exact.load_state_dict(state["exact"])
        for number in range(0 if state is None else state["source"], len(setup.sources)):
            source, at = setup.sources[number], 0
            player = source.actor(setup.family, setup.seed)
            if state is not None and number == state["source"]:
                at = int(state["at"])
                set_chance(player, state["player"])

            def mark(begun: int, rows: list[Row] = rows, number: int = number, player: Player = player) -> None:
                """Before a portion: what to continue from, if it is stopped within."""
                kept.update({"source": number, "at": begun, "rows": list(rows), "chance": torch_state()})
                kept.update({"player": chance_of(player), "exact": exact.state_dict()})

            def tick(name: str = source.name) -> None:
                piece.tick(lambda: kept, lambda: f"{kept['at']:,} held-out episodes ({name})", passes=True)

            portions = held_out_trajectories(setup, source, player=player, at=at, mark=mark, tick=tick, ids=ids)
            for trajectories in portions:
                rows += errors.rows(source, trajectories)
                tick()
    return rows


def held_out_trajectories(
    setup: Setup,
    source: Source,
    *,
    player: Player | None = None,
    at: int = 0,
    mark: Callable[[int], None] = lambda begun: None,
    tick: Callable[[], None] = lambda: None,
    ids: NDArray[np.int64] | None = None,
) -> Iterator[list[Trajectory]]:
    """Trajectories of all episodes, a memory-bounded number at a time.

    They depend on the setup and the source alone, not on the model that is measured on them nor on what it draws
    meanwhile.

    Args:
        player: the source's, where it stands at episode ``at``; None = at its beginning.
        at: the episode to continue from, the first of a portion.
        mark: called before each portion.
        tick: called before each step; may raise to stop here.
        ids: see :func:`held_out_episodes`.
    """
    family, seed = setup.family, setup.seed
    episodes = held_out_episodes(setup, source, ids)
    members = source.acting(episodes, setup.config.model_episodes, family)
    player = player or source.actor(family, seed)
    size = max(1, min(_RECORDS // 32, len(episodes)))
    with slot_group(family.with_longest(LONGEST), size, setup.processes, raw=True) as slots:
        for begun in range(at, len(episodes), size):
            mark(begun)
            chance = stream(seed, f"held-out chance: {source.name}, from episode {begun}")
            part, acting = episodes[begun : begun + size], members[begun : begun + size]
            with torch_seed(int(chance.integers(2**31))):
                played = collect(player, slots, part, members=acting, tick=tick)
            records = max(t.length for t in played) + 1
            fit = max(1, _RECORDS // records)
            for first in range(0, len(played), fit):
                yield played[first : first + fit]


class _Starts(NamedTuple):
    """Start states of one measurement: trajectory, time, actions (n, k, A), and whether step t + k was recorded."""

    b: NDArray[np.int64]
    t: NDArray[np.int64]
    actions: NDArray[np.float32]
    recorded: NDArray[np.bool_]


def _starts(trajectories: Sequence[Trajectory], spec: EnvSpec, k: int, most: int, rng: np.random.Generator) -> _Starts:
    """Start states with k actions from each: evenly spaced from a random one on, so that all times count alike.

    An episode that terminated continues in its last observation, as the exact prediction has it, with random actions;
    one that was cut by its time limit offers no start from which step k was not reached.
    """
    b, t, actions, recorded = [], [], [], []
    for i, trajectory in enumerate(trajectories):
        final = trajectory.length - (1 if trajectory.terminated else k)
        if final < 0:
            continue
        number = min(most, final + 1)
        for start in ((rng.uniform() + np.arange(number)) * (final + 1) / number).astype(int).clip(0, final):
            known = trajectory.actions[start + 1 : start + 1 + k]
            b.append(i)
            t.append(start)
            actions.append(np.concatenate([known, spec.action.random(rng, k - len(known))]))
            recorded.append(start + k <= trajectory.length)
    taken = np.array(actions, np.float32).reshape(len(b), k, spec.action.dim)
    return _Starts(np.array(b, np.int64), np.array(t, np.int64), taken, np.array(recorded, np.bool_))


class _Errors:
    """Measures the errors of a model; ``ahead`` maps numbers of steps to the kind of :data:`_STARTS`."""

    def __init__(self, setup: Setup, model: Model, exact: Exact, ahead: Mapping[int, str]) -> None:
        self._model, self._family, self._config, self._seed = model, setup.family, setup.config, setup.seed
        self._spec, self._device, self._exact, self._ahead = setup.family.spec, setup.device, exact, ahead

    def rows(self, source: Source, trajectories: Sequence[Trajectory]) -> list[Row]:
        """One row for each (trajectory, metric) that has a value."""
        exact_keys, found = self._found(trajectories)
        each = self._config.model_episodes
        about = {"episodes": each, "held_out": f"{source.about}, {each} episodes a θ", "exact_keys": exact_keys}
        return [
            {
                **self._family.columns(trajectory.episode),
                "source": source.name,
                "metric": metric,
                "value": float(np.mean(values)),
                "starts": len(values),
                **about,
            }
            for trajectory, metrics in zip(trajectories, found, strict=True)
            for metric, values in metrics.items()
            if values
        ]

    def _found(self, trajectories: Sequence[Trajectory]) -> tuple[str, list[dict[str, list[float]]]]:
        """The keys that have exact predictions, and for each trajectory: metric → one value for each start state."""
        posterior = self._model.observe(as_batch(trajectories, torch.device(self._device)))
        one_step_kl = categorical_kl(posterior.posterior, posterior.prior).sum(-1).cpu().numpy()  # (B, T)
        found = [{"latent_kl_1": one_step_kl[i, 1 : t.length + 1].tolist()} for i, t in enumerate(trajectories)]
        rng = stream(self._seed, "actions after the end")
        exact_keys: tuple[str, ...] = ()
        for k, kind in self._ahead.items():
            wanted, fewest, most = _STARTS[kind]
            most = min(max(wanted // self._config.model_episodes, fewest), most)
            starts = _starts(trajectories, self._spec, k, most, rng)
            if not len(starts.b):
                continue
            known = [
                self._exact.predict(trajectories[i].episode, trajectories[i].raw[int(t)], actions)
                for i, t, actions in zip(*starts[:3], strict=True)
            ]
            names = tuple(key.name for key in self._spec.observation if any(key.name in of_start for of_start in known))
            exact_keys = names or exact_keys
            prediction = self._add_seen(trajectories, posterior, starts, k, names, found)
            # A call that failed leaves its start state out.
            answered = np.array([bool(names) and set(of_start) == set(names) for of_start in known], np.bool_)
            for metric, numbers in _distances(self._spec, known, answered, prediction, k).items():
                _add(found, metric, starts.b[answered], numbers.tolist())
        return ", ".join(exact_keys), found

    def _add_seen(
        self,
        trajectories: Sequence[Trajectory],
        posterior: Posterior,
        starts: _Starts,
        k: int,
        wanted: Sequence[str],
        found: list[dict[str, list[float]]],
    ) -> Prediction:
        """Predict k steps from each start state and add to ``found`` the errors against what was seen there."""
        device, keys = self._device, self._spec.observation
        ends = [min(int(t) + k, trajectories[i].length) for i, t in zip(starts.b, starts.t, strict=True)]
        truth = {
            key.name: torch.from_numpy(
                np.stack([trajectories[i].observations[key.name][e] for i, e in zip(starts.b, ends, strict=True)])
            ).to(device)
            for key in keys
        }
        b, t, actions = (torch.from_numpy(array).to(device) for array in starts[:3])
        prediction = predict(self._model, posterior, b, t, actions, truth, keys, wanted, self._config.samples)
        values = {f"observation_nll_{k}": prediction.nll}
        if k > 1:
            reached = posterior.posterior[b, torch.tensor(ends, device=device)]
            values[f"latent_kl_{k}"] = categorical_kl(reached, prediction.latent.clamp_min(1e-12).log()).sum(-1)
        if prediction.mean:
            values[f"observation_mse_{k}"] = _squared_error(prediction, truth)
        for metric, numbers in values.items():
            _add(found, metric, starts.b[starts.recorded], numbers.cpu().numpy()[starts.recorded].tolist())
        return prediction


def _add(
    found: list[dict[str, list[float]]], metric: str, trajectories: NDArray[np.int64], values: Sequence[float]
) -> None:
    """Add one value for each start state to its trajectory's."""
    for i, value in zip(trajectories, values, strict=True):
        found[i].setdefault(metric, []).append(value)


def _distances(
    spec: EnvSpec,
    exact: Sequence[Mapping[str, NDArray[np.float64]]],
    answered: NDArray[np.bool_],
    prediction: Prediction,
    k: int,
) -> dict[str, NDArray[np.float64]]:
    """Metric → its value in each start state that is ``answered``; nothing without exact predictions.

    Args:
        exact: for each of n start states, by key, joint (Π classes,) or marginal (V, widest).
        answered: (n,) start states with all keys that are predicted at all.
    """
    known, by_key = [of_start for of_start, kept in zip(exact, answered, strict=True) if kept], {}
    for key in spec.observation if known else ():
        if key.name in known[0]:
            halves = prediction.factors[key.name].cpu().numpy()[answered].swapaxes(0, 1)  # n h ... -> h n ...
            distance = total_variation if is_joint(key.classes) else misplaced
            right = np.stack([of_start[key.name] for of_start in known])
            by_key[key.name] = without_sampling_error(distance, halves, right)
    values = {f"tv_{name}_{k}": numbers for name, numbers in by_key.items()}
    if by_key and not not_covered([key.name for key in spec.observation], by_key):
        values["one_step_tv" if k == 1 else f"open_loop_tv_{k}"] = np.max(list(by_key.values()), axis=0)
    return values


def _squared_error(prediction: Prediction, truth: dict[str, Tensor]) -> Tensor:
    """Mean squared error over all entries of image and vector keys, (n,)."""
    errors = []
    for name, mean in prediction.mean.items():
        target = truth[name].float() / 255.0 if truth[name].dtype == torch.uint8 else truth[name].float()
        errors.append((mean - target.reshape(mean.shape)).square().flatten(1))
    return torch.cat(errors, 1).mean(1)
