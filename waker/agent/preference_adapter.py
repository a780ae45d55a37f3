"""Policies for a task that is given by preferences: an ordinary adapter around a head that was fitted to answers."""

from __future__ import annotations

from waker.agent.task_adapter import TaskAdapter
from waker.config.schema import Config
from waker.machine.compile_costs import Costs
from waker.model.preference_heads import PreferenceHeads
from waker.model.world_model import WorldModel
from waker.specs import EnvSpec


class PreferenceAdapter(TaskAdapter):
    """One policy on the reward that :class:`~waker.model.preference_heads.PreferenceHeads` gives.

    Args:
        task: its name.
        members: E of the head.
        costs: notes what updates cost; None = nobody does.
    """

    heads: PreferenceHeads

    def __init__(
        self, model: WorldModel, spec: EnvSpec, config: Config, task: str, members: int, costs: Costs | None = None
    ) -> None:
        device = next(model.parameters()).device
        heads = PreferenceHeads(members, model.rssm.features, spec.action.dim, config.model).to(device)
        super().__init__(model, spec, config, (task,), costs=costs, heads=heads)
