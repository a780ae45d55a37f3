"""The learner: world model → explorer → ensemble → task policies, in one update of static shapes.

The training loop hands it batches and receives :class:`Credit`: which environment each start state came from, and the
model's estimated error there. Nothing in :meth:`Agent.update` reads a value back to the host.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from waker.agent.evidence_maker import IMAGINED, PER_STEP, STEP_LOSS, EvidenceMaker, living
from waker.agent.task_adapter import TaskAdapter
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.player import ModelPlayer
from waker.behaviour.policy_learner import PolicyLearner
from waker.behaviour.returns import survival
from waker.behaviour.starts import Starts, start_states
from waker.behaviour.task_rewards import task_rewards
from waker.config.schema import Config
from waker.errors import UserError
from waker.exploration.ensemble import Ensemble
from waker.exploration.registry import explorer_class, make_explorer
from waker.machine.compile import prepared
from waker.machine.compile_costs import Costs
from waker.machine.cuda_graphs import Recorder, recorder_for
from waker.machine.precision import Precision
from waker.model.optim import Adam
from waker.model.rssm import Posterior
from waker.model.world_model import StepLosses, WorldModel
from waker.protocols import EXPLORER, Player
from waker.specs import EnvSpec


class Credit(NamedTuple):
    """Error estimates to credit to environments: ``theta_id`` (N,) integers (−1: of none), ``error`` (N,)."""

    theta_id: Tensor
    error: Tensor


class MeasuredCredit(NamedTuple):
    """A :class:`Credit` with what else was asked for (:meth:`Agent.measure`) and the ``theta_id`` that it is of."""

    theta_id: Tensor
    error: Tensor
    measured: dict[str, Tensor]


AnyCredit = Credit | MeasuredCredit


class Agent:
    """World model, exploration policy, ensemble and task policies with their optimisers.

    The ensemble is the estimate of the model's error that θ is credited by, whatever rewards the explorer.

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
        uniform = (EXPLORER,) if explorer_class(config.explorer.name).acts_at_random else ()
        self.model = WorldModel(spec, config.model).to(self.device)
        how = config.behaviour, config.model, uniform, self.model.where
        policies = ActorCriticStack(names, self.model.rssm.features, spec.action, *how)
        self.ensemble = Ensemble(self.model, spec.action.dim, config.explorer).to(self.device)
        self.policy_learner = PolicyLearner(policies.to(self.device), config.behaviour, self.precision)
        # Last: the weights of all others are the same whoever explores.
        self.exploration = make_explorer(self.model, spec.action.dim, config.explorer).to(self.device)
        # Random exploration, task policies trained later and credit from the replay need no rollout.
        self.imagines = online or not uniform or config.explorer.credit == "imagined"
        self.model_optimizer = Adam(self.model.parameters(), config.model.optimizer)
        self.ensemble_optimizer = Adam(self.ensemble.parameters(), config.explorer.optimizer)
        self.exploration_optimizer: Adam | None = None
        if any(p.requires_grad for p in self.exploration.parameters()):
            self.exploration_optimizer = Adam(self.exploration.parameters(), config.explorer.optimizer)
        networks = self.model, self.ensemble, self.exploration, policies
        self.evidence = EvidenceMaker(*networks, config, self.precision)
        self._asked: tuple[str, ...] = ()
        self.adapter: TaskAdapter | None = None
        self._recorder, self._costs = recorder, costs
        self._step = prepared(self._update, config.train.compile, self.device, self._tensors, recorder)
        if costs is not None:
            self._step = costs.watched("update", self._step)

    def _tensors(self) -> Iterator[Tensor]:
        """All that an update reads or changes in place, but for its batch."""
        for module in (self.model, self.ensemble, self.exploration):
            yield from (*module.parameters(), *module.buffers())
        yield from (*self.model_optimizer.tensors(), *self.ensemble_optimizer.tensors())
        if self.exploration_optimizer is not None:
            yield from self.exploration_optimizer.tensors()
        yield from self.policy_learner.tensors()

    # Learning -----------------------------------------------------------------------------------------------------

    def measure(self, fields: Collection[str]) -> None:
        """Have updates measure these by-products, too (:meth:`EvidenceMaker.of_update`). Before the first update.

        What was asked for before is still measured.
        """
        self._asked = tuple(sorted({*self._asked, *fields}))

    def update(self, batch: Mapping[str, Tensor], mode: bool = False) -> tuple[AnyCredit, dict[str, Tensor]]:
        """One update of everything (docs/method.md, One iteration, step 3).

        Args:
            batch: replay windows on the device, (B, T, ...); see :mod:`waker.replay.ring`.
            mode: replace every sample by its mode (for comparisons with a reference).

        Returns:
            The credit of N states, and metrics: 0-dim tensors, (M,) for policies, (K,) for reward heads. Where
            ``train.compile`` records CUDA graphs, the next update overwrites them: copy what is to be kept.
        """
        return self._step(batch, mode)

    def _update(self, batch: Mapping[str, Tensor], mode: bool) -> tuple[AnyCredit, dict[str, Tensor]]:
        """World model, policies, ensemble and explorer, each by its loss; rewards and credit are of weights before."""
        with self.precision():
            model = self.model.loss(batch, mode)
        posterior = model.posterior.detach()
        steps = self._step_losses(posterior, batch)
        metrics = model.metrics | {"model_grad_norm": self.model_optimizer.descend(model.loss)}

        credit: AnyCredit | None = None
        starts, rollout = None, None
        errors: list[Tensor] = []
        values: list[Tensor] = []
        if self.imagines:
            starts = start_states(posterior.state, batch, self.config.behaviour.starts)
            rewards = functools.partial(self._rewards, errors, values)
            found = self.policy_learner.gradients(self.model, starts, rewards, mode).without_trajectory()
            metrics |= found.metrics | self.policy_learner.step(found)
            rollout = found.rollout
            if errors:
                credit = self._imagined_credit(torch.cat(errors, -1), rollout.cont[:, -1], starts)

        with self.precision():
            prediction = self.ensemble.predict_steps(posterior, batch)
            loss = self.ensemble.loss(prediction, posterior, batch)
            own = self.exploration.loss(posterior, batch)
        if credit is None:
            credit = self._replayed_credit(prediction.detach(), batch)
        metrics |= {"ensemble_loss": loss.detach(), "credit": credit.error.mean()}
        metrics["ensemble_grad_norm"] = self.ensemble_optimizer.descend(loss)
        if own is not None and self.exploration_optimizer is not None:
            norm = self.exploration_optimizer.descend(own)
            metrics |= {"explorer_loss": own.detach(), "explorer_grad_norm": norm}
        if self._asked:
            credited = {"theta_id": credit.theta_id, "disagreement": credit.error}
            value = torch.cat(values, -1) if values else None
            measured = self.evidence.of_update(self._asked, starts, rollout, value, steps, credited)
            credit = MeasuredCredit(credit.theta_id, credit.error, measured)
        return credit, metrics

    def _step_losses(self, posterior: Posterior, batch: Mapping[str, Tensor]) -> StepLosses | None:
        """Of the batch and the weights before the update, where they are asked for."""
        if not any(name in self._asked for name in (*PER_STEP, STEP_LOSS)):
            return None
        with torch.no_grad(), self.precision():
            return self.model.step_losses(posterior, batch)

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

    def _rewards(self, errors: list[Tensor], values: list[Tensor], trajectory: Trajectory) -> Tensor:
        """Rewards (H+1, M, N): the tasks' heads for task policies, the explorer's own for the last member.

        Args:
            errors: the error estimate along the explorer's trajectory, (H+1, N), is put here where θ is credited by it.
            values: its slow critic's values, (H+1, N), are put here where they are asked for.
        """
        feature, action = trajectory.feature, trajectory.action
        # Split, not sliced: the gradients of slices are padded with zeros and added.
        tasks, explorer = feature.split([feature.shape[1] - 1, 1], 1)
        visited = explorer.squeeze(1), action[:, -1]
        own = self.exploration.reward(*visited)
        reward = self.ensemble.intrinsic_reward(*visited) if own is None else own
        if self.config.explorer.credit == "imagined":
            with torch.no_grad():
                errors.append(reward.detach() if own is None else self.ensemble.intrinsic_reward(*visited))
        if not IMAGINED.isdisjoint(self._asked):
            values.append(self.evidence.explorer_values(visited[0]))
        if not tasks.shape[1]:
            return reward.unsqueeze(1)
        of_tasks = Trajectory(tasks, action[:, :-1], trajectory.policy)
        return torch.cat([task_rewards(self.model.rewards, of_tasks), reward.unsqueeze(1)], 1)

    def _imagined_credit(self, error: Tensor, cont: Tensor, starts: Starts) -> Credit:
        """Mean error (H+1, N) from each start state on, over the credited steps that its episode lives to see."""
        explorer = self.config.explorer
        first = 0 if explorer.credit_first else 1
        last = 1 + (explorer.credit_steps or self.config.behaviour.horizon)
        error, alive = error[first:last], survival(cont)[first:last]
        # A state that ended its episode has no future to be wrong about.
        return Credit(living(starts), (alive * error).sum(0) / alive.sum(0).clamp_min(1e-8))

    def _replayed_credit(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Credit:
        """Disagreement about the batch's own steps, B·(T−1) of them; of no θ where an episode begins.

        Args:
            prediction: of the ensemble, (E, B·(T−1), target).
        """
        error = self.config.explorer.scale * self.ensemble.target.disagreement(prediction)
        theta_id, first = batch["theta_id"][:, :-1].flatten(), batch["is_first"][:, 1:].flatten()
        return Credit(torch.where(first, -1, theta_id), error)

    # Acting -------------------------------------------------------------------------------------------------------

    def explorer(self) -> Player:
        """The policy that collects data: a player whose member ``names.index("explorer")`` explores."""
        recorded = self.config.train.compile in ("graphs", "reduce-overhead")
        recorder = (self._recorder or recorder_for(self.device)) if recorded else None
        return ModelPlayer(self.model, self.policy_learner.policies, self.precision, recorder)

    def task_player(self) -> Player:
        """The task policies; ``names`` holds every task.

        Raises:
            UserError: task policies were left for later and have not been trained yet.
        """
        if self.adapter is not None:
            return self.adapter.player()
        if self.config.train.task_policies == "after":
            raise UserError("this run has no task policies yet: train them with `waker adapt`")
        return ModelPlayer(self.model, self.policy_learner.policies, self.precision)

    # Saving -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Nested dict of tensors and scalars: loads with ``weights_only=True``."""
        state = {
            "model": self.model.state_dict(),
            "model_optimizer": self.model_optimizer.state_dict(),
            "ensemble": self.ensemble.state_dict(),
            "ensemble_optimizer": self.ensemble_optimizer.state_dict(),
            "learner": self.policy_learner.state_dict(),
            "adapter": None if self.adapter is None else self.adapter.state_dict(),
        }
        # Only of explorers that have one: the states of others are those of before explorers had any.
        if own := self.exploration.state_dict():
            state["exploration"] = own
        if self.exploration_optimizer is not None:
            state["exploration_optimizer"] = self.exploration_optimizer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, bit for bit."""
        self.model.load_state_dict(state["model"])
        self.model_optimizer.load_state_dict(state["model_optimizer"])
        self.ensemble.load_state_dict(state["ensemble"])
        self.ensemble_optimizer.load_state_dict(state["ensemble_optimizer"])
        self.policy_learner.load_state_dict(state["learner"])
        self.exploration.load_state_dict(state.get("exploration", {}))
        if self.exploration_optimizer is not None:
            self.exploration_optimizer.load_state_dict(state["exploration_optimizer"])
        if state["adapter"] is None:
            self.adapter = None
        else:
            self.start_adaptation().load_state_dict(state["adapter"])
