"""The world model's true error for each θ, on held-out trajectories.

Called by ``waker evaluate`` and by the loop's evaluation block. The curriculum sees only an *estimate* of this error
(ensemble disagreement in imagination); these rows say what it should have seen.

Metrics, k = ``config.horizon``:

- ``one_step_tv``, ``open_loop_tv_<k>``: total variation between the model's predictive distribution and the exact one,
  over the joint of a categorical key's variables, for families that offer ``predict``. The model's is the mean over
  latent samples; the distance that their finite number alone makes is taken off.
- ``latent_kl_1``, ``latent_kl_<k>``: KL(posterior ‖ prior) in nats, in the model's own latent: its surprise. At k
  steps the prior of each latent is its mean over open-loop samples, so that spread counts as uncertainty. It depends
  on the latent's own capacity: compare it between θ, not between models.
- ``observation_nll_1``, ``observation_nll_<k>``: −ln mean over samples of the likelihood of what was seen.
- ``observation_mse_1``, ``observation_mse_<k>``: mean squared error of the mean decoded observation over the entries of
  image (in [0, 1]) and vector keys.

Total variation isolates what the model got wrong; the other three include what nobody could have known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.behaviour.player import RandomPlayer, chance_of, set_chance
from waker.config import EvalConfig
from waker.constructors import close, made
from waker.evaluation.exact import Exact
from waker.evaluation.open_loop import Model, Prediction, predict
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import Episode, dr_thetas, episode_seeds, spread, stream, theta_columns
from waker.evaluation.rollouts import MakeEnv, Row, torch_seed
from waker.evaluation.trajectories import Trajectory, as_batch, collect
from waker.learner import Player
from waker.model.distributions import categorical_kl
from waker.model.rssm import Posterior
from waker.seeding import load_torch_state, torch_state
from waker.spaces import EnvSpec
from waker_envs.api import FiniteThetaSpace, ParametricEnv, ThetaSpace

SUITE = "model error"
MOST_THETA = 200
"""θ measured at most (evenly spaced in a larger space; shared alike by the domains of one that has several)."""
CONTINUOUS_THETA = 64
"""θ drawn from a continuous space."""
LONGEST = 256
"""Steps of a held-out trajectory at most."""
_RECORDS = 2048
"""Records filtered at once; bounds memory for long episodes of pictures."""
_STARTS = {"one": 16, "open": 4}
"""Start states of a trajectory, evenly spaced: one-step predictions are cheap, k-step ones cost k times more."""


def measured_ids(space: ThetaSpace) -> NDArray[np.int64]:
    """Ids of the θ that are measured: at most :data:`MOST_THETA` of a finite space, none of a continuous one."""
    return spread(space, MOST_THETA) if isinstance(space, FiniteThetaSpace) else np.zeros(0, np.int64)


def held_out_episodes(space: ThetaSpace, config: EvalConfig, seed: int) -> list[Episode]:
    """``model_episodes`` episodes of every θ (at most :data:`MOST_THETA`, as many of each domain), seeds their own."""
    rng = stream(seed, SUITE)
    if isinstance(space, FiniteThetaSpace):
        thetas = space.points[measured_ids(space)]
    else:
        thetas = dr_thetas(space, CONTINUOUS_THETA, rng)
    repeated = np.repeat(thetas, config.model_episodes, axis=0)
    seeds = episode_seeds(rng, len(repeated))
    return [Episode(SUITE, t, space.index(t), s) for t, s in zip(repeated, seeds, strict=True)]


def measure(
    model: Model,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    config: EvalConfig,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    player: Player | None = None,
    piece: Piece | None = None,
) -> list[Row]:
    """Errors of the model for each θ.

    Args:
        model: the world model, on ``device``.
        make_env: makes an environment.
        spec, space: of the family.
        config: ``model_episodes``, ``horizon`` and ``samples``.
        seed: fixes θ, episodes, actions and latent samples.
        player: who acts (its explorer, or its first policy); None = uniform random actions.
        piece: what to go on from, and where to keep it when a signal comes; None = from the beginning.

    Returns:
        A row for each (θ, metric): theta_id, theta_<name>…, metric, value (mean over start states), episodes. θ
        whose episodes are shorter than k steps have no k-step rows.

    Raises:
        UserError: an environment that fails.
        Paused: a signal has come.
    """
    episodes = held_out_episodes(space, config, seed)
    player = player or RandomPlayer(spec.action, stream(seed, "held-out actions"))
    where = torch.device(device)
    piece = piece or Pieces().piece("held-out trajectories")
    exact, sums, at = Exact(spec), _Sums(), 0
    kept: dict[str, Any] = {}

    def mark(begun: int) -> None:
        """Before a portion: what there is to go on from, if it is stopped within."""
        chance = {"torch": torch_state(), "player": chance_of(player)}
        kept.update({"at": begun, "sums": sums.state(), "chance": chance, "exact": exact.state_dict()})

    def tick() -> None:
        piece.tick(lambda: kept, lambda: f"{kept['at']:,} of {len(episodes):,} held-out episodes")

    with torch_seed(seed):
        if (state := piece.state) is not None:
            at, sums = int(state["at"]), _Sums.of(state["sums"])
            load_torch_state(state["chance"]["torch"])
            set_chance(player, state["chance"]["player"])
            exact.load_state_dict(state["exact"])
        for env, trajectories in _portions(player, make_env, spec, episodes, at, mark, tick):
            errors = _errors(model, env, spec, trajectories, config, where, seed, exact)
            for trajectory, values in zip(trajectories, errors, strict=True):
                sums.add(trajectory.episode.theta, values)
            tick()
    exact.tell()
    rows: list[Row] = []
    for key, metrics in sums.found.items():
        theta = np.asarray(key)
        base = {"theta_id": space.index(theta), **theta_columns(space, theta)}
        rows += [
            {**base, "metric": metric, "value": float(np.mean(values)), "episodes": config.model_episodes}
            for metric, values in metrics.items()
        ]
    return rows


class _Sums:
    """What has been measured: θ → metric → one value for each start state."""

    def __init__(self) -> None:
        self.found: dict[tuple[float, ...], dict[str, list[float]]] = {}

    def add(self, theta: NDArray[np.float64], values: Mapping[str, Sequence[float]]) -> None:
        """The values of one trajectory."""
        collected = self.found.setdefault(tuple(theta.tolist()), {})
        for metric, numbers in values.items():
            collected.setdefault(metric, []).extend(numbers)

    def state(self) -> list[Any]:
        """A copy, in plain lists."""
        return [[list(theta), {m: list(v) for m, v in metrics.items()}] for theta, metrics in self.found.items()]

    @classmethod
    def of(cls, state: Sequence[Any]) -> _Sums:
        """What :meth:`state` returned."""
        sums = cls()
        sums.found = {tuple(theta): {m: list(v) for m, v in metrics.items()} for theta, metrics in state}
        return sums


def _portions(
    player: Player,
    make_env: MakeEnv,
    spec: EnvSpec,
    episodes: Sequence[Episode],
    at: int,
    mark: Callable[[int], None],
    tick: Callable[[], None],
) -> Iterator[tuple[ParametricEnv, list[Trajectory]]]:
    """Trajectories of the episodes from ``at`` on, a memory-bounded number at a time, with an environment that can
    predict; ``mark`` is called before each portion and ``tick`` before each step."""
    size = max(1, min(_RECORDS // 32, len(episodes)))
    envs: list[ParametricEnv] = []
    try:
        for _ in range(size):
            envs.append(made(make_env, spec.env_id))
        while at < len(episodes):
            mark(at)
            part = collect(player, envs, spec, episodes[at : at + size], longest=LONGEST, tick=tick)
            at += len(part)
            records = max(t.length for t in part) + 1
            fit = max(1, _RECORDS // records)
            for first in range(0, len(part), fit):
                yield envs[0], part[first : first + fit]
    finally:
        for env in envs:
            close(env, spec.env_id)


class _Starts(NamedTuple):
    """Start states of one measurement: trajectory, time, actions (n, k, A), and whether step t + k was recorded."""

    b: NDArray[np.int64]
    t: NDArray[np.int64]
    actions: NDArray[np.float32]
    recorded: NDArray[np.bool_]


def _starts(trajectories: Sequence[Trajectory], spec: EnvSpec, k: int, most: int, rng: np.random.Generator) -> _Starts:
    """Evenly spaced start states with k actions from each.

    An episode that terminated goes on in its last observation, as the exact prediction has it, with random actions;
    one that was cut by its time limit offers no start from which step k was not reached.
    """
    b, t, actions, recorded = [], [], [], []
    for i, trajectory in enumerate(trajectories):
        final = trajectory.length - (1 if trajectory.terminated else k)
        if final < 0:
            continue
        for start in np.unique(np.linspace(0, final, min(most, final + 1)).round().astype(int)):
            known = trajectory.actions[start + 1 : start + 1 + k]
            b.append(i)
            t.append(start)
            actions.append(np.concatenate([known, spec.action.random(rng, k - len(known))]))
            recorded.append(start + k <= trajectory.length)
    shape = (len(b), k, spec.action.dim)
    return _Starts(
        np.array(b, np.int64), np.array(t, np.int64), np.array(actions, np.float32).reshape(shape), np.array(recorded)
    )


def _errors(
    model: Model,
    env: ParametricEnv,
    spec: EnvSpec,
    trajectories: Sequence[Trajectory],
    config: EvalConfig,
    device: torch.device,
    seed: int,
    exact: Exact,
) -> list[dict[str, list[float]]]:
    """For each trajectory: metric → one value for each start state."""
    posterior = model.observe(as_batch(trajectories, device))
    found: list[dict[str, list[float]]] = [{} for _ in trajectories]
    one_step_kl = categorical_kl(posterior.posterior, posterior.prior).sum(-1).cpu().numpy()  # (B, T)
    for i, trajectory in enumerate(trajectories):
        found[i]["latent_kl_1"] = one_step_kl[i, 1 : trajectory.length + 1].tolist()
    rng = stream(seed, "actions after the end")
    for k, most in {1: _STARTS["one"], config.horizon: _STARTS["open"]}.items():
        starts = _starts(trajectories, spec, k, most, rng)
        if len(starts.b):
            known = [
                exact.predict(env, trajectories[i].episode, trajectories[i].raw[int(t)], a)
                for i, t, a in zip(*starts[:3], strict=True)
            ]
            _measure_steps(model, known, spec, trajectories, posterior, starts, k, config.samples, found)
    return found


def _measure_steps(
    model: Model,
    exact: Sequence[Mapping[str, NDArray[np.float64]]],
    spec: EnvSpec,
    trajectories: Sequence[Trajectory],
    posterior: Posterior,
    starts: _Starts,
    k: int,
    samples: int,
    found: list[dict[str, list[float]]],
) -> None:
    """Add the errors k steps after each start state to ``found``; ``exact``: its exact distributions, where known."""
    device = posterior.posterior.device
    joint_keys = sorted(set().union(*exact))
    ends = [min(int(t) + k, trajectories[i].length) for i, t in zip(starts.b, starts.t, strict=True)]
    truth = {
        key.name: torch.from_numpy(
            np.stack([trajectories[i].observations[key.name][e] for i, e in zip(starts.b, ends, strict=True)])
        ).to(device)
        for key in spec.observation
    }
    b, t = torch.from_numpy(starts.b).to(device), torch.from_numpy(starts.t).to(device)
    actions = torch.from_numpy(starts.actions).to(device)
    prediction = predict(model, posterior, b, t, actions, truth, spec.observation, joint_keys, samples)
    values = {f"observation_nll_{k}": prediction.nll}
    if k > 1:
        reached = posterior.posterior[b, torch.tensor(ends, device=device)]
        values[f"latent_kl_{k}"] = categorical_kl(reached, prediction.latent.clamp_min(1e-12).log()).sum(-1)
    if prediction.mean:
        values[f"observation_mse_{k}"] = _squared_error(prediction, truth)
    for metric, numbers in values.items():
        for i, value, real in zip(starts.b, numbers.cpu().tolist(), starts.recorded, strict=True):
            if real:
                found[i].setdefault(metric, []).append(value)
    if joint_keys:
        metric = "one_step_tv" if k == 1 else f"open_loop_tv_{k}"
        modelled = {name: prediction.joint[name].cpu().numpy() for name in joint_keys}
        for n, i in enumerate(starts.b):
            if joint_keys == sorted(exact[n]):  # a call that failed leaves its start state out
                distances = [_total_variation(modelled[name][n], exact[n][name]) for name in joint_keys]
                found[i].setdefault(metric, []).append(float(np.mean(distances)))


def _total_variation(halves: NDArray[np.float32], exact: NDArray[np.float64]) -> float:
    """Total variation without the bias of a finite number of samples.

    With S samples the expected distance is about a + b/√S, even for a perfect model (a = 0). The two halves of the
    samples give a + b/√(S/2), and both together tell a. May fall a little below 0 by chance.

    Args:
        halves: the distribution by each half of the samples, (2, Π classes); (1, Π classes) if there is one sample.
        exact: (Π classes,).
    """
    together = 0.5 * abs(halves.mean(0) - exact).sum()
    apart = 0.5 * abs(halves - exact).sum(1).mean()
    return float(together - (apart - together) / (np.sqrt(2.0) - 1.0))


def _squared_error(prediction: Prediction, truth: dict[str, Tensor]) -> Tensor:
    """Mean squared error over all entries of image and vector keys, (n,)."""
    errors = []
    for name, mean in prediction.mean.items():
        target = truth[name].float() / 255.0 if truth[name].dtype == torch.uint8 else truth[name].float()
        errors.append((mean - target.reshape(mean.shape)).square().flatten(1))
    return torch.cat(errors, 1).mean(1)
