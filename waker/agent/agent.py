"""The learner: world model → explorer → ensemble → task policies, in one update of static shapes.

The training loop hands it batches and receives :class:`Credit`: which environment each start state came from, and the
model's estimated error there. Nothing in :meth:`Agent.update` reads a value back to the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from waker.agent.task_adapter import TaskAdapter
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory, survival
from waker.behaviour.player import ModelPlayer
from waker.behaviour.policy_learner import PolicyGradients, PolicyLearner, Rollout
from waker.behaviour.rewards import task_rewards
from waker.behaviour.starts import Starts, start_states
from waker.config.schema import Config
from waker.errors import UserError
from waker.exploration.ensemble import Ensemble
from waker.machine.compile import prepared
from waker.machine.compile_costs import Costs
from waker.machine.cuda_graphs import Recorder, recorder_for
from waker.machine.precision import Precision
from waker.model.optim import Adam
from waker.model.rssm import Posterior, State
from waker.model.world_model import WorldModel
from waker.protocols import EXPLORER, Player
from waker.specs import EnvSpec


class Credit(NamedTuple):
    """Error estimates to credit to environments: ``theta_id`` (N,) integers (−1 = nobody's), ``error`` (N,)."""

    theta_id: Tensor
    error: Tensor


class _Learned(NamedTuple):
    """What the model's part of an update hands on: gradients, the posterior without a graph, metrics."""

    gradients: list[Tensor]
    posterior: Posterior
    metrics: dict[str, Tensor]


class Agent:
    """World model, exploration policy, ensemble and task policies with their optimisers.

    With ``train.task_policies = "online"`` the K task policies and the explorer are one stack; with ``"after"``
    the stack holds the explorer alone and :meth:`adapt_update` trains the task policies from the frozen model.
    Draws its weights from torch's global generator: seed it first.

    Args:
        device: None = the configuration's.
        recorder: records updates with ``train.compile = "graphs"``; None = the device's own.
        costs: notes what updates cost; None = nobody does.
    """

    def __init__(
        self,
        spec: EnvSpec,
        config: Config,
        device: torch.device | str | None = None,
        recorder: Recorder | None = None,
        costs: Costs | None = None,
    ) -> None:
        self.spec, self.config = spec, config
        self.device = torch.device(config.device if device is None else device)
        self.precision = Precision(config.train.precision, self.device)
        online = config.train.task_policies == "online"
        names = (*spec.tasks, EXPLORER) if online else (EXPLORER,)
        uniform = (EXPLORER,) if config.explorer.name == "random" else ()
        self.model = WorldModel(spec, config.model).to(self.device)
        rssm = self.model.rssm
        how = config.behaviour, config.model, uniform, self.model.where
        policies = ActorCriticStack(names, rssm.features, spec.action, *how)
        self.ensemble = Ensemble(self.model, spec.action.dim, config.explorer).to(self.device)
        self.learner = PolicyLearner(policies.to(self.device), config.behaviour, self.precision)
        # With random exploration, task policies left for later and credit read off the replay nobody needs a rollout.
        self.imagines = online or not uniform or config.explorer.credit == "imagined"
        self.model_optimizer = Adam(self.model.parameters(), config.model.optimizer)
        self.ensemble_optimizer = Adam(self.ensemble.parameters(), config.explorer.optimizer)
        self.adapter: TaskAdapter | None = None
        self._recorder, self._costs = recorder, costs
        self._step = prepared(self._update, config.train.compile, self.device, self._tensors, recorder)
        if costs is not None:
            self._step = costs.watched("update", self._step)

    def _tensors(self) -> Iterator[Tensor]:
        """All that an update reads or changes in place, but for its batch."""
        for module in (self.model, self.ensemble):
            yield from (*module.parameters(), *module.buffers())
        yield from (*self.model_optimizer.tensors(), *self.ensemble_optimizer.tensors(), *self.learner.tensors())

    # Learning -----------------------------------------------------------------------------------------------------

    def update(self, batch: Mapping[str, Tensor], mode: bool = False) -> tuple[Credit, dict[str, Tensor]]:
        """One update of everything (docs/method.md, One iteration, step 3).

        Args:
            batch: replay windows on the device, (B, T, ...); see :mod:`waker.replay.ring`.
            mode: replace every sample by its mode (for comparisons with a reference).

        Returns:
            The credit of N states, and metrics: 0-dim tensors, (M,) for policies, (K,) for reward heads. Where
            ``train.compile`` records CUDA graphs, the next update overwrites them: copy what is to be kept.
        """
        return self._step(batch, mode)

    def _update(self, batch: Mapping[str, Tensor], mode: bool) -> tuple[Credit, dict[str, Tensor]]:
        """The update's three parts, each of which only computes, with the optimisers' steps between them."""
        learned = self._model_gradients(batch, mode)
        metrics = learned.metrics | {"model_grad_norm": self.model_optimizer.apply(learned.gradients)}
        imagined = None
        if self.imagines:
            starts, found = self._policy_gradients(learned.posterior.state, batch, mode)
            metrics |= found.metrics | self.learner.step(found)
            imagined = starts, found.rollout
        grads, credit, measured = self._ensemble_gradients(learned.posterior, batch, imagined)
        metrics |= measured | {"ensemble_grad_norm": self.ensemble_optimizer.apply(grads)}
        return credit, metrics

    def _model_gradients(self, batch: Mapping[str, Tensor], mode: bool) -> _Learned:
        with self.precision():
            output = self.model.loss(batch, mode)
        (stoch, deter), *rest = output.posterior
        detached = Posterior(State(stoch.detach(), deter.detach()), *(x.detach() for x in rest))
        return _Learned(self.model_optimizer.gradients(output.loss), detached, output.metrics)

    def _policy_gradients(
        self, state: State, batch: Mapping[str, Tensor], mode: bool
    ) -> tuple[Starts, PolicyGradients]:
        """Start states, imagined from under the model's new weights."""
        starts = start_states(state, batch, self.config.behaviour.starts)
        return starts, self.learner.gradients(self.model, starts, self._rewards, mode).without_trajectory()

    def _ensemble_gradients(
        self, posterior: Posterior, batch: Mapping[str, Tensor], imagined: tuple[Starts, Rollout] | None
    ) -> tuple[list[Tensor], Credit, dict[str, Tensor]]:
        """The ensemble's gradients, and the credit by its members as they were when they made this update's rewards."""
        with self.precision():
            prediction = self.ensemble.predict_steps(posterior, batch)
            loss = self.ensemble.loss(prediction, posterior, batch)
        if self.config.explorer.credit == "replayed" or imagined is None:
            credit = self._replayed_errors(prediction.detach(), batch)
        else:
            starts, rollout = imagined
            # A state that ended its episode has no future to be wrong about.
            theta_id = torch.where(starts.goes_on > 0, starts.theta_id, -1)
            credit = Credit(theta_id, self._imagined_errors(rollout))
        metrics = {"ensemble_loss": loss.detach(), "credit": credit.error.mean()}
        return self.ensemble_optimizer.gradients(loss), credit, metrics

    @staticmethod
    def credits(config: Config) -> int:
        """How many errors one update credits."""
        batch, length = config.train.batch, config.train.length
        if config.explorer.credit == "replayed":
            return batch * (length - 1)
        return min(config.behaviour.starts or batch * length, batch * length)

    def adapt_update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update of the task policies alone, from the frozen world model (``task_policies = "after"``)."""
        return self.start_adaptation().update(batch)

    def start_adaptation(self) -> TaskAdapter:
        """The adapter over all tasks of the environment, made at the first call."""
        if self.adapter is None:
            tasks, recorder, costs = self.spec.tasks, self._recorder, self._costs
            self.adapter = TaskAdapter(self.model, self.spec, self.config, tasks, recorder, costs)
        return self.adapter

    def forget_adaptation(self) -> None:
        """Give up the task policies that were trained alone."""
        self.adapter = None

    def _rewards(self, trajectory: Trajectory) -> Tensor:
        """Rewards (H+1, M, N): the tasks' heads for task policies, disagreement for the explorer (the last member)."""
        feature, action = trajectory.feature, trajectory.action
        # Split, not sliced: the gradients of slices are padded with zeros and added.
        tasks, explorer = feature.split([feature.shape[1] - 1, 1], 1)
        intrinsic = self.ensemble.intrinsic_reward(explorer.squeeze(1), action[:, -1]).unsqueeze(1)
        if not tasks.shape[1]:
            return intrinsic
        of_tasks = Trajectory(tasks, action[:, :-1], trajectory.policy)
        return torch.cat([task_rewards(self.model.rewards, of_tasks), intrinsic], 1)

    def _imagined_errors(self, rollout: Rollout) -> Tensor:
        """Mean disagreement of each start state over the credited steps while its episode lives, (N,)."""
        error, goes_on = rollout.reward[:, -1].detach(), rollout.goes_on[:, -1].detach()  # (H+1, N)
        explorer = self.config.explorer
        first = 0 if explorer.credit_first else 1
        last = 1 + (explorer.credit_steps or self.config.behaviour.horizon)
        error, alive = error[first:last], survival(goes_on)[first:last]
        return (alive * error).sum(0) / alive.sum(0).clamp_min(1e-8)

    def _replayed_errors(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Credit:
        """Disagreement about the batch's own steps, B·(T−1) of them; nobody's where an episode begins.

        Args:
            prediction: of the ensemble, (E, B·(T−1), target).
        """
        error = self.config.explorer.scale * self.ensemble.target.spread(prediction)
        theta_id, first = batch["theta_id"][:, :-1].flatten(), batch["is_first"][:, 1:].flatten()
        return Credit(torch.where(first, -1, theta_id), error)

    # Acting -------------------------------------------------------------------------------------------------------

    def explorer(self) -> Player:
        """The policy that collects data: a player whose member ``names.index("explorer")`` explores."""
        recorded = self.config.train.compile in ("graphs", "reduce-overhead")
        recorder = (self._recorder or recorder_for(self.device)) if recorded else None
        return ModelPlayer(self.model, self.learner.policies, self.precision, recorder)

    def task_player(self) -> Player:
        """The task policies; ``names`` holds every task.

        Raises:
            UserError: task policies were left for later and have not been trained yet.
        """
        if self.adapter is not None:
            return self.adapter.player()
        if self.config.train.task_policies == "after":
            raise UserError("this run has no task policies yet: train them with `waker adapt`")
        return ModelPlayer(self.model, self.learner.policies, self.precision)

    # Saving -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Nested dict of tensors and scalars: loads with ``weights_only=True``."""
        return {
            "model": self.model.state_dict(),
            "model_optimizer": self.model_optimizer.state_dict(),
            "ensemble": self.ensemble.state_dict(),
            "ensemble_optimizer": self.ensemble_optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "adapter": None if self.adapter is None else self.adapter.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.model_optimizer.load_state_dict(state["model_optimizer"])
        self.ensemble.load_state_dict(state["ensemble"])
        self.ensemble_optimizer.load_state_dict(state["ensemble_optimizer"])
        self.learner.load_state_dict(state["learner"])
        if state["adapter"] is None:
            self.adapter = None
        else:
            self.start_adaptation().load_state_dict(state["adapter"])
