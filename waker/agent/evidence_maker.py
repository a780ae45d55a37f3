"""What curricula ask the learner to measure: numbers of an update's states, and of real episodes.

Made by :class:`waker.agent.agent.Agent`; asked by :mod:`waker.training.recording`, which makes records
(:mod:`waker.curriculum.evidence`) of them. Some are by-products of an update and are computed in it, compiled or not
(:meth:`EvidenceMaker.of_update`). The others are computed apart, operation by operation, and have chance of their own:
training draws the same numbers whether they are made or not.

States that an episode does not live to see: imagined rewards, values and returns of state t are multiplied by
w_t = Π_{i<t} P(the episode goes on after state i), w_0 = 1. The formulas of :mod:`waker.curriculum.scores.advantages`,
which know γ alone, are then right: δ_t = w_t·(r_t + γ·P_t·v_{t+1} − v_t).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import imagine
from waker.behaviour.policy_learner import Rollout
from waker.behaviour.returns import lambda_return, survival
from waker.behaviour.starts import Starts, start_states
from waker.config.schema import Config
from waker.exploration.api import Explorer
from waker.exploration.ensemble import Ensemble
from waker.machine.precision import Precision
from waker.model.rssm import Posterior, State
from waker.model.world_model import StepLosses, WorldModel
from waker.names import EXPLORER
from waker.seeding import torch_seed
from waker.specs import ObservationKey

PER_STEP = ("loss", "transition_loss", "excess")
"""Fields of steps, in the order of :class:`~waker.model.world_model.StepLosses`."""
STEP_LOSS = "step_loss"
"""A by-product of an update that is no field of a record: the model's loss of every step of the batch, (B, T)."""
IMAGINED = frozenset({"rewards", "values", "returns"})
APART = frozenset({"gradients", "sampled_returns"})
"""Fields of an update's record that are computed apart from it."""
STARTS, ROLLOUTS = 16, 8
"""Of ``sampled_returns``: start states of a batch (:func:`spread_starts`), and rollouts S from each."""
MOST_THETA = 8
"""θ of a batch whose gradients are measured, drawn where it has more: each costs two passes back through the model."""
_PICTURE = 8
"""Rows and columns of the pictures of ``observations``."""
_BLOCK = 256
"""Steps of an episode that are encoded and decoded at a time."""


class EvidenceMaker:
    """Measures with an agent's networks, without changing them.

    Args:
        model, ensemble, exploration, policies: the agent's.
        config: of the run.
        precision: of its updates.
    """

    def __init__(
        self,
        model: WorldModel,
        ensemble: Ensemble,
        exploration: Explorer,
        policies: ActorCriticStack,
        config: Config,
        precision: Precision,
    ) -> None:
        self.model, self.ensemble, self.exploration, self.policies = model, ensemble, exploration, policies
        self.config, self.precision = config, precision

    def missing(self, tasks: Collection[str], asked: Collection[str] = ()) -> dict[str, str]:
        """Fields of both records that this configuration does not give, each with the reason.

        Args:
            tasks: of the environment.
            asked: fields of an update's record that are to be of the same states.
        """
        found: dict[str, str] = {}
        if self.config.explorer.credit == "replayed" and not IMAGINED.isdisjoint(asked):
            why = (
                "with explorer.credit replayed it is not of the start states that are imagined from; set it to imagined"
            )
            found["disagreement"] = why
        if self.policies.names[-1] != EXPLORER or not bool(self.policies.learns[-1]):
            why = f"explorer {self.config.explorer.name!r} learns no policy and no critic; choose another explorer"
            found |= dict.fromkeys(("rewards", "values", "returns", "sampled_returns"), why)
        if self.config.train.task_policies != "online" or not tasks:
            why = "there is no task's critic during exploration; set train.task_policies = online"
            found |= dict.fromkeys(("task_rewards", "task_values"), why)
        return found

    # By-products of an update -------------------------------------------------------------------------------------

    def explorer_values(self, feature: Tensor) -> Tensor:
        """The slow exploration critic's values of features (T, N, F), (T, N); without gradient."""
        return self._values(feature, -1)

    def _values(self, feature: Tensor, member: int) -> Tensor:
        """A member's slow critic on features (T, N, F), (T, N)."""
        flat = rearrange(feature, "t n f -> 1 (t n) f").expand(self.policies.members, -1, -1)
        with torch.no_grad():
            return self.policies.slow.predict(flat)[member].unflatten(0, feature.shape[:2])

    def of_update(
        self,
        asked: Sequence[str],
        starts: Starts | None,
        rollout: Rollout | None,
        values: Tensor | None,
        steps: StepLosses | None,
        credited: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """An update's record but for what is computed apart, all of the same N states.

        These are the start states of imagination, or, where ``explorer.credit`` is ``replayed`` and nothing imagined is
        asked for, the B·(T−1) steps whose disagreement is credited; the losses are then of the steps arrived at.

        Args:
            asked: fields.
            starts: start states; None = nothing was imagined.
            rollout: of all policies, the explorer's last: rewards and continue probabilities (H+1, M, N).
            values: of the slow exploration critic along the explorer's, (H+1, N).
            steps: of the batch, (B, T).
            credited: ``theta_id`` and ``disagreement`` of the credited states.
        """
        of_starts = starts is not None and (self.config.explorer.credit == "imagined" or not IMAGINED.isdisjoint(asked))
        found: dict[str, Tensor] = {"theta_id": credited["theta_id"]}
        if of_starts:
            assert starts is not None
            found["theta_id"] = living(starts)
        if steps is not None:
            # Without imagination they are the steps arrived at.
            for name, x in zip(PER_STEP, steps, strict=True):
                found[name] = (starts.of_steps(x) if of_starts and starts else x[:, 1:].flatten()).detach()
            found[STEP_LOSS] = steps.loss.detach()
        if rollout is not None and values is not None:
            found |= self._imagined(rollout.reward[:, -1], rollout.cont[:, -1], values)
        if "disagreement" in asked:
            found["disagreement"] = credited["disagreement"]
        return {name: x for name, x in found.items() if name in asked or name == "theta_id"}

    def _imagined(self, reward: Tensor, cont: Tensor, value: Tensor) -> dict[str, Tensor]:
        """Rewards, values and λ-returns with their weights, from three (H+1, N), as (N, H or H+1)."""
        reward, cont, value, b = reward.detach(), cont.detach(), value.detach(), self.config.behaviour
        alive = survival(cont)
        returns = lambda_return(reward[:-1], b.discount * cont[:-1], value, b.lambda_)
        found = {"rewards": (alive * reward)[:-1], "values": alive * value, "returns": alive[:-1] * returns}
        return {name: x.T for name, x in found.items()}

    # Apart from the update ----------------------------------------------------------------------------------------

    def apart(self, asked: Collection[str], batch: Mapping[str, Tensor], seed: int) -> dict[str, NDArray[Any]]:
        """The fields of :data:`APART` that are asked for, with their ids, of a batch and the present weights."""
        found: dict[str, NDArray[Any]] = {}
        with torch_seed(seed):
            if "sampled_returns" in asked:
                with self.precision():
                    found |= _arrays(self._sampled_returns(batch, np.random.default_rng(seed)))
            if "gradients" in asked:
                found |= self._gradients(batch, np.random.default_rng(seed))
        return found

    def _sampled_returns(self, batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
        """Σ_t γ^t·w_t·r_t + γ^H·w_H·v_H of :data:`ROLLOUTS` rollouts from each of :data:`STARTS` states, (R, S)."""
        every = start_states(self.model.observe(batch).state, batch, 0)
        sequences, steps = batch["theta_id"].shape
        chosen = torch.as_tensor(spread_starts(sequences, steps, STARTS, rng), device=every.cont.device)
        theta_id, cont = living(every)[chosen], every.cont[chosen]
        state = State(*(x[chosen].repeat_interleave(ROLLOUTS, 0) for x in every.state))
        trajectory = imagine(self.model.rssm, self.policies, state, self.config.behaviour.horizon)
        feature, action = trajectory.feature[:, -1], trajectory.action[:, -1]
        after = self.model.continue_probability(feature[1:])
        going = torch.cat([cont.repeat_interleave(ROLLOUTS).unsqueeze(0), after])
        weight = survival(self.config.behaviour.discount * going)
        last = self.explorer_values(feature[-1:])[0]
        returns = (weight[:-1] * self._intrinsic(feature, action)[:-1]).sum(0) + weight[-1] * last
        return {"sampled_returns": returns.view(-1, ROLLOUTS), "sampled_returns_id": theta_id}

    def gradient_parameters(self) -> list[Tensor]:
        """What gradients are with respect to: the biases and gains of the RSSM, a few thousand numbers at any size."""
        return [p for p in self.model.rssm.parameters() if p.dim() <= 1 and p.requires_grad]

    def _gradients(self, batch: Mapping[str, Tensor], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """∇ mean loss of each θ's steps in the first and in the other half of its sequences, (G, 2, P).

        Steps of one sequence err alike, and share the state they begin in, so that no sequence is in both halves: a θ
        that is in one sequence alone has no gradients here.
        """
        ids, length = batch["theta_id"].flatten().cpu().numpy(), batch["theta_id"].shape[1]
        parts = {int(i): halves(np.flatnonzero(ids == i), length) for i in np.unique(ids[ids >= 0])}
        present = np.array([i for i, pair in parts.items() if pair is not None], np.int64)
        if len(present) > MOST_THETA:
            present = np.sort(rng.choice(present, MOST_THETA, replace=False))
        parameters = self.gradient_parameters()
        with torch.enable_grad():
            with self.precision():
                loss = self.model.step_losses(self.model.observe(batch), batch).loss.flatten()
            rows = [
                self._gradient(loss[torch.as_tensor(half, device=loss.device)].mean(), parameters)
                for theta_id in present.tolist()
                for half in parts[theta_id] or ()
            ]
        size = sum(p.numel() for p in parameters)
        found = torch.stack(rows) if rows else torch.zeros(0, size)
        gradients = found.double().cpu().numpy().reshape(len(present), 2, size)
        return {"gradients": gradients, "gradients_id": present.astype(np.int64)}

    def _gradient(self, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)])

    # Of episodes --------------------------------------------------------------------------------------------------

    def of_episode(
        self, asked: Collection[str], records: Mapping[str, NDArray[Any]], seed: int, task: int | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Fields of :class:`~waker.curriculum.evidence.EpisodeEvidence`, of one filtering through the present model.

        States 0 … T are those of the T + 1 records, state 0 the reset's. Losses are of the steps that led into states
        1 … T; disagreement and features of the same steps; rewards belong to states 0 … T−1 and values to 0 … T. After
        a true end the last value is known: the end's own reward.

        Args:
            asked: fields.
            records: as in the replay (:mod:`waker.replay.ring`), (T + 1, …).
            seed: of the latents that are drawn.
            task: index of the task of ``task_rewards`` and ``task_values``; its policy is the member of this index.
        """
        device = self.policies.learns.device
        batch = {name: torch.as_tensor(x, device=device).unsqueeze(0) for name, x in records.items()}
        with torch_seed(seed), self.precision():
            posterior = self._observed(batch)
            return {n: x.astype(np.float64) for n, x in _arrays(self._read(asked, posterior, batch, task)).items()}

    def _read(
        self, asked: Collection[str], posterior: Posterior, batch: Mapping[str, Tensor], task: int | None
    ) -> dict[str, Tensor]:
        feature, action = posterior.state.feature[0].unsqueeze(1), batch["action"][0].unsqueeze(1)  # (T + 1, 1, …)
        ended, found = batch["is_terminal"][0, -1], dict[str, Tensor]()
        if set(PER_STEP) & set(asked):
            found |= {name: x[1:] for name, x in zip(PER_STEP, self._losses(posterior, batch), strict=True)}
        if "disagreement" in asked:
            led_into = self.config.explorer.action == "authors"
            apart = self.ensemble.disagreement(feature[:-1], action[:-1] if led_into else action[1:])
            found["disagreement"] = self.config.explorer.scale * apart[:, 0]
        if not {"rewards", "values"}.isdisjoint(asked):
            rewards = self._intrinsic(feature, action)[:, 0]
            found |= {"rewards": rewards[:-1], "values": valued(self.explorer_values(feature)[:, 0], rewards, ended)}
        if task is not None and not {"task_rewards", "task_values"}.isdisjoint(asked):
            rewards = batch["task_rewards"][0, :, task]
            values = valued(self._values(feature, task)[:, 0], rewards, ended)
            found |= {"task_rewards": rewards[:-1], "task_values": values}
        if "features" in asked:
            found["features"] = torch.cat([posterior.state.deter[0, :-1], action[1:, 0]], -1)
        if "observations" in asked:
            found["observations"] = torch.cat([seen(self.model.keys, batch)[:-1], action[1:, 0]], -1)
        return {name: x for name, x in found.items() if name in asked}

    def _observed(self, batch: Mapping[str, Tensor]) -> Posterior:
        """:meth:`WorldModel.observe`, encoding some steps at a time."""
        keys = [key.name for key in self.model.keys]
        embed = _in_blocks(lambda part: self.model.encoder(part), {name: batch[name] for name in keys})
        return self.model.rssm.observe(embed, batch["action"], batch["is_first"])

    def _losses(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> StepLosses:
        """Losses of an episode's T + 1 steps, (T + 1,) each, decoding some at a time."""
        parts = dict(zip(("stoch", "deter", "posterior", "prior"), (*posterior.state, *posterior[1:3]), strict=True))

        def of(part: Mapping[str, Tensor]) -> Tensor:
            state = State(part["stoch"], part["deter"])
            some = Posterior(state, part["posterior"], part["prior"], posterior.embed)
            return torch.stack(self.model.step_losses(some, part), -1)

        return StepLosses(*_in_blocks(of, {**batch, **parts})[0].unbind(-1))

    def _intrinsic(self, feature: Tensor, action: Tensor) -> Tensor:
        """The explorer's reward at every entry of a trajectory (T, N, …), (T, N)."""
        own = self.exploration.reward(feature, action)
        return self.ensemble.intrinsic_reward(feature, action) if own is None else own


def living(starts: Starts) -> Tensor:
    """The θ of start states, −1 where the state ended its episode and has no future."""
    return torch.where(starts.cont > 0, starts.theta_id, -1)


def spread_starts(sequences: int, steps: int, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most n different steps b·T + t of a batch of B sequences × T steps, drawn evenly over sequences and steps.

    No sequence and no t is drawn twice before every one has been drawn once, and each step of the batch is as likely.
    """
    r = np.arange(min(n, sequences * steps))
    row, column = rng.permutation(sequences), rng.permutation(steps)
    # r ↦ (r mod B, (r + ⌊r / lcm⌋) mod T) visits every pair once.
    return np.asarray(row[r % sequences] * steps + column[(r + r // math.lcm(sequences, steps)) % steps], np.int64)


def halves(steps: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Steps b·T + t (n,), ascending, in two parts of whole sequences b, as nearly equal as these allow.

    Args:
        steps: of a batch, flattened.
        length: T.

    Returns:
        None where all of them are of one sequence.
    """
    cuts = np.flatnonzero(np.diff(steps // length)) + 1
    if not len(cuts):
        return None
    cut = cuts[np.argmin(abs(2 * cuts - len(steps)))]
    return steps[:cut], steps[cut:]


def seen(keys: Sequence[ObservationKey], batch: Mapping[str, Tensor]) -> Tensor:
    """What an episode (1, T + 1, …) shows, as numbers (T + 1, G): one-hots, numbers, and pictures averaged to 8 × 8."""
    parts = []
    for key in keys:
        x = batch[key.name][0]
        if key.kind == "categorical":
            parts += [one_hot(x[:, i].long(), classes) for i, classes in enumerate(key.classes)]
        elif key.kind == "image":
            small = adaptive_avg_pool2d(x.permute(0, 3, 1, 2).float() / 255, _PICTURE)
            parts.append(small.flatten(1))
        else:
            parts.append(x.flatten(1))
    return torch.cat([part.float() for part in parts], -1)


def valued(values: Tensor, rewards: Tensor, ended: Tensor) -> Tensor:
    """Values (T + 1,) with the last one's own reward in its place after a true end: nothing comes after it."""
    return torch.cat([values[:-1], torch.where(ended, rewards[-1:], values[-1:])])


def _in_blocks(of: Callable[[Mapping[str, Tensor]], Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
    """A function of (1, T, …), computed some steps at a time."""
    split = {name: x.split(_BLOCK, 1) for name, x in tensors.items()}
    count = len(next(iter(split.values())))
    return torch.cat([of({name: parts[i] for name, parts in split.items()}) for i in range(count)], 1)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: (x.float() if x.is_floating_point() else x).cpu().numpy() for name, x in tensors.items()}
